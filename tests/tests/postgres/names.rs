//! Names: quoted, mixed case, keywords, aliases, other schemas, and search paths of every kind.

use crate::case::{Mode, check, check_modes, error_of, room};
use atone_tests::servers::Kind;

#[tokio::test]
async fn quoted_and_mixed_case() {
    let tables = "CREATE TABLE \"Req\" (\"Id\" int PRIMARY KEY, \"order\" int, \"user\" text);
        INSERT INTO \"Req\" VALUES (1, 1, 'a'), (2, 2, 'b');
        CREATE TABLE req (\"Id\" text PRIMARY KEY, id int);
        INSERT INTO req VALUES ('x', 1);
        CREATE TABLE \"sel\"\"ect it's; a \\ table\" (\"from \"\"here\"\"\" int PRIMARY KEY, \"a'b\" text, \"ü\" int, \"$1\" int);
        INSERT INTO \"sel\"\"ect it's; a \\ table\" VALUES (1, 'x', 1, 1);
        CREATE TABLE \"user\" (\"returning\" int PRIMARY KEY, \"set\" int, \"where\" text);
        INSERT INTO \"user\" VALUES (1, 1, 'x');
        CREATE TABLE t (t int PRIMARY KEY, tableoid_ int, excluded text);
        INSERT INTO t VALUES (1, 1, 'x');
        CREATE TABLE Überall (id int PRIMARY KEY, v int);
        INSERT INTO Überall VALUES (1, 1)";
    let statements = [
        "UPDATE \"Req\" SET \"order\" = \"order\" + 1 RETURNING \"Id\"",
        "INSERT INTO \"Req\" (\"user\", \"Id\") VALUES ('c', 3)",
        "DELETE FROM \"Req\" AS \"R\" WHERE \"R\".\"Id\" = 1 RETURNING \"R\".*",
        "UPDATE REQ SET ID = 2 WHERE \"Id\" = 'x'",
        "UPDATE \"sel\"\"ect it's; a \\ table\" SET \"a'b\" = 'it''s', \"ü\" = 2, \"$1\" = 3",
        "INSERT INTO \"sel\"\"ect it's; a \\ table\" AS \"returning\" (\"from \"\"here\"\"\") VALUES (7) RETURNING \"returning\".*",
        "UPDATE \"user\" \"set\" SET \"set\" = 5, \"where\" = 'set' WHERE \"set\".\"returning\" = 1",
        "DELETE FROM \"user\"",
        "UPDATE t SET tableoid_ = 2",
        "INSERT INTO t VALUES (2, 2, 'y') ON CONFLICT (t) DO UPDATE SET excluded = EXCLUDED.excluded RETURNING t, t.t, t.*",
        "DELETE FROM t t WHERE t.t = 1 RETURNING t",
        "UPDATE Überall SET v = 2",
        "INSERT INTO Überall AS Ö VALUES (2) RETURNING Ö.id",
    ];
    check("names", tables, &statements).await;
}

#[tokio::test]
async fn qualified_names_and_search_paths() {
    let tables = "CREATE TABLE q (id int PRIMARY KEY, v int); INSERT INTO q VALUES (1, 1), (2, 2)";
    let statements = [
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "UPDATE shop_paths.q SET v = 5 WHERE id = 1 RETURNING *",
        "INSERT INTO shop_paths.q VALUES (3, 3)",
        "UPDATE q SET v = 6",
        "SET search_path = pg_catalog, public, shop_paths",
        "DELETE FROM q WHERE id = 2",
        "SET search_path TO 'nothing at all', \"shop_paths\"",
        "UPDATE \"shop_paths\" . q SET v = v + 1",
        "UPDATE shop.shop_paths.q SET v = v + 1",
    ];
    let modes = [Mode::Autocommit, Mode::Prepared];
    check_modes("paths", tables, &statements, &modes).await;
}

/// A schema of the application that has what the server has: our own statements must not find it.
#[tokio::test]
async fn a_path_with_names_of_the_servers() {
    let tables = "CREATE TABLE q (id int PRIMARY KEY, v int); INSERT INTO q VALUES (1, 1), (2, 2);
        CREATE FUNCTION encode(bytea, text) RETURNS text LANGUAGE sql AS $$SELECT 'wrong'$$;
        CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS $$SELECT '2001-01-01'::timestamptz$$;
        CREATE FUNCTION eq(int, int) RETURNS bool LANGUAGE sql AS $$SELECT false$$;
        CREATE OPERATOR = (LEFTARG = int, RIGHTARG = int, FUNCTION = eq);
        CREATE TABLE pg_class (oid int PRIMARY KEY);
        CREATE TABLE undo_log (id int PRIMARY KEY); CREATE TABLE resource (id int PRIMARY KEY);
        CREATE DOMAIN text AS int; CREATE DOMAIN oid AS int; CREATE DOMAIN regclass AS int;
        CREATE DOMAIN record AS int";
    let statements = [
        "SET search_path = shop_shadow, pg_catalog",
        "UPDATE q SET v = 5",
        "INSERT INTO q VALUES (3, 3)",
        "DELETE FROM q WHERE id > 2",
        "UPDATE pg_class SET oid = 1",
        "INSERT INTO undo_log VALUES (1)",
    ];
    check("shadow", tables, &statements).await;
}

#[tokio::test]
async fn the_proxys_own_schema_is_out_of_bounds() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "own_schema", "CREATE TABLE q (id int PRIMARY KEY)").await;
        let mut raw = room.raw(true).await.unwrap();
        raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("INSERT INTO q VALUES (1)").await.unwrap();
        for statement in [
            "DELETE FROM atone.undo_log",
            "UPDATE atone.undo_log SET xid = xid",
            "SET search_path = atone; DELETE FROM undo_log",
        ] {
            let (state, message) = error_of(&mut raw, statement).await;
            assert!(["42501", "0A000"].contains(&state.as_str()), "{kind:?}: {statement}: {state} {message}");
        }
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
    }
}
