//! Tables with triggers.

use crate::case::{check, error_of, room};
use atone_tests::servers::Kind;

/// What triggers write is captured, and the undo fires none.
#[tokio::test]
async fn triggers() {
    let tables = "CREATE TABLE log (id serial PRIMARY KEY, what text, at int);
        CREATE TABLE total (one bool PRIMARY KEY, n int); INSERT INTO total VALUES (true, 2);
        CREATE TABLE kind (k text PRIMARY KEY); INSERT INTO kind VALUES ('a'), ('b');
        CREATE TABLE fires (id int PRIMARY KEY, v int, k text REFERENCES kind, touched int DEFAULT 0);
        INSERT INTO fires VALUES (1, 1, 'a'), (2, 2, 'b');
        CREATE TABLE leans (id int PRIMARY KEY, f int REFERENCES fires); INSERT INTO leans VALUES (1, 1);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
            INSERT INTO log (what, at) VALUES (TG_OP, coalesce(NEW.id, OLD.id));
            UPDATE total SET n = (SELECT count(*) FROM fires); RETURN NULL; END$$;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN NEW.touched := NEW.touched + 1; IF NEW.v = 77 THEN NEW.id := NEW.id + 70; END IF; RETURN NEW; END$$;
        CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN IF NEW.v = 5 THEN UPDATE fires SET v = 6 WHERE id = NEW.id; END IF; RETURN NULL; END$$;
        CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON fires FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER b BEFORE INSERT OR UPDATE ON fires FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE TRIGGER c AFTER UPDATE ON fires FOR EACH ROW EXECUTE FUNCTION again()";
    check(
        "triggers",
        tables,
        &[
            "INSERT INTO fires (id, v, k) VALUES (3, 3, 'a') RETURNING *",
            "UPDATE fires SET v = 5 WHERE id = 2 RETURNING v, touched",
            "UPDATE fires SET v = 77 WHERE id = 3 RETURNING id",
            "DELETE FROM fires WHERE id = 2",
            "INSERT INTO fires VALUES (1, 9, 'b') ON CONFLICT (id) DO UPDATE SET v = 8",
            "DELETE FROM leans",
            "INSERT INTO fires VALUES (73, 9, 'b') ON CONFLICT (id) DO UPDATE SET v = 77",
        ],
    )
    .await;
    check(
        "at_commit",
        "CREATE TABLE log (id serial PRIMARY KEY, what text);
         CREATE TABLE fires (id int PRIMARY KEY, v int); INSERT INTO fires VALUES (1, 1);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN INSERT INTO log (what) VALUES (TG_OP); RETURN NULL; END$$;
         CREATE CONSTRAINT TRIGGER trg AFTER INSERT OR UPDATE OR DELETE ON fires DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION note()",
        &["INSERT INTO fires VALUES (2, 2)", "UPDATE fires SET v = 2", "DELETE FROM fires WHERE id = 1"],
    )
    .await;
}

/// Foreign keys are not checked by the server while triggers keep still.
#[tokio::test]
async fn references_to_rows_restored_quietly_or_not() {
    for (kind, quietly) in Kind::POSTGRES.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let tables = "CREATE TABLE kind (k text PRIMARY KEY); INSERT INTO kind VALUES ('a'), ('b');
            CREATE TABLE fires (id int PRIMARY KEY, k text REFERENCES kind); INSERT INTO fires VALUES (1, 'a'), (2, 'b');
            CREATE TABLE leans (id int PRIMARY KEY, f int REFERENCES fires);
            CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$";
        let trigger =
            "CREATE TRIGGER a BEFORE INSERT OR UPDATE ON fires FOR EACH ROW EXECUTE FUNCTION nothing()";
        let tables = &if quietly { format!("{tables}; {trigger}") } else { tables.to_owned() };
        for (write, stranger, mend, why) in [
            (
                "UPDATE fires SET k = 'b' WHERE id = 1",
                "DELETE FROM kind WHERE k = 'a'",
                "INSERT INTO kind VALUES ('a')",
                "kind that is gone",
            ),
            (
                "INSERT INTO fires VALUES (9, 'b')",
                "INSERT INTO leans VALUES (1, 9)",
                "DELETE FROM leans",
                "leans have come to point",
            ),
        ] {
            let room = room(kind, "quietly", tables).await;
            let before = room.dump().await;
            let (mut raw, mut other) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut raw, write).await, Default::default(), "{kind:?}: {write}");
            assert_eq!(error_of(&mut other, stranger).await, Default::default(), "{kind:?}: {stranger}");
            assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "blocked", "{kind:?}: {write}");
            let shown = room.world.api().transaction(&xid).unwrap().1.to_string();
            assert!(shown.contains(why), "{kind:?}: {write}: {shown}");
            assert_eq!(error_of(&mut other, mend).await, Default::default(), "{kind:?}: {mend}");
            room.world.api().rollback(&xid).unwrap();
            assert_eq!(room.calm(&xid).await, "rolled_back");
            assert_eq!(room.dump().await, before, "{kind:?}: {write}");
        }
    }
}
