//! Reads of functions that write.

use crate::case::{Mode, TABLE, check, check_modes};

/// A read of one's own functions is a write if they write.
#[tokio::test]
async fn reads_that_call_functions() {
    let tables = format!(
        "{TABLE}; CREATE FUNCTION sly(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN UPDATE t SET v = v + n; RETURN 1; END$$;
         CREATE FUNCTION sly_sql() RETURNS SETOF c LANGUAGE sql AS 'UPDATE c SET id = id + 1 RETURNING *';
         CREATE FUNCTION sly_lies() RETURNS int LANGUAGE plpgsql STABLE AS $$BEGIN RETURN sly(3); END$$;
         CREATE FUNCTION look() RETURNS bigint LANGUAGE sql AS 'SELECT sum(v) FROM t';
         CREATE FUNCTION undone() RETURNS int LANGUAGE plpgsql AS
           $$BEGIN DELETE FROM c; RAISE 'back'; EXCEPTION WHEN raise_exception THEN RETURN 1; END$$"
    );
    check(
        "reading",
        &tables,
        &[
            "SELECT sly(1)",
            "SELECT look()",
            "SELECT \"sly\" (v), v FROM t ORDER BY id",
            "SELECT * FROM sly_sql() AS s (a, b)",
            "SELECT undone()",
            "SELECT sly_lies()",
            "VALUES (sly(4)), (5)",
            "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT sly(6)",
            "COPY (SELECT sly(7)) TO STDOUT",
        ],
    )
    .await;
    check_modes(
        "reading_on",
        &tables,
        &[
            "SELECT look()",
            "DECLARE part CURSOR FOR SELECT sly(v) FROM t",
            "SAVEPOINT a",
            "FETCH 2 FROM part",
            "SELECT sly(500)",
            "ROLLBACK TO a",
            "SELECT sly_lies()",
            "RELEASE a",
            "SELECT look()",
        ],
        &[Mode::Local, Mode::PreparedLocal],
    )
    .await;
}
