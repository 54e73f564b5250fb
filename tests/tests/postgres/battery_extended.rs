//! Sessions of the extended protocol, in the language of `atone_tests::postgres::script`.

/// A name and what is said.
pub const EXTENDED: &[(&str, &str)] = &[
    ("one at a time", "P - SELECT $1::int + 1, $2::text\nB - - 41 | \\N\nD P -\nE -\nS"),
    ("asked step by step", "P - SELECT 1 AS one\nH\n< 1\nB - -\nH\n< 2\nD P -\nH\n< T\nE -\nH\n< C\nS"),
    (
        "prepared by name",
        "P s1 SELECT id, s FROM t WHERE id = $1\nD S s1\nS\nB - s1 1\nE -\nS\nB - s1 3\nE -\nS\nP s1 SELECT 1\nS\nC S s1\nS
         B - s1 1\nE -\nS\nC S nothing\nS",
    ),
    (
        "binary both ways",
        "P - [23,25,17] SELECT $1, $2, $3, 1.5::float8, '{1,2}'::int[], now() IS NULL\nB - - x:0000002a | text | x:00ff > 1
         D P -\nE -\nS\nP - SELECT 1::int2, 'a', true\nB - - > 0 1 0\nD P -\nE -\nS",
    ),
    (
        "types in binary",
        "P - SELECT '[1,5)'::int4range, '10.0.0.1/8'::inet, ROW(1,'x'), 'NaN'::numeric, '1 day'::interval, '{\"a\":1}'::jsonb\nB - - > 1\nD P -\nE -\nS",
    ),
    (
        "portals in parts",
        "Q BEGIN\nP s SELECT g FROM generate_series(1, 5) g\nB p s\nE p 2\nS\nE p 2\nS\nE p 2\nS\nE p\nS\nC P p\nE p\nS\nQ COMMIT",
    ),
    ("a portal after its transaction", "P s SELECT g FROM generate_series(1, 5) g\nB p s\nE p 2\nS\nE p 2\nS"),
    (
        "two portals at once",
        "Q BEGIN\nP s SELECT g FROM generate_series(1, 4) g\nB a s\nB b s\nE a 1\nE b 2\nE a 1\nE b 2\nS\nB a s\nS\nQ ROLLBACK",
    ),
    ("skipped until Sync", "P - SELECT 1/0\nB - -\nE -\nP - SELECT 2\nB - -\nE -\nS\nP - SELECT 3\nB - -\nE -\nS"),
    (
        "errors at each step",
        "P - SELEC\nS\nP - SELECT $1::int\nB - - x\nS\nB - - 1 | 2\nS\nB - nothing\nS\nD S nothing\nS\nD P nothing\nS\nE nothing\nS
         P - SELECT 1; SELECT 2\nS\nP - SELECT $3\nD S -\nS\nP - SELECT $1\nD S -\nS",
    ),
    (
        "a pipeline is a transaction",
        "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nB - i 8\nE -\nB - i 7\nE -\nB - i 9\nE -\nS\nQ SELECT count(*) FROM t
         B - i 7\nE -\nB - i 8\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "a pipeline with its own transaction",
        "P b BEGIN\nB - b\nE -\nP i INSERT INTO t VALUES ($1) RETURNING id\nB - i 7\nE -\nP c COMMIT\nB - c\nE -\nS\nQ SELECT count(*) FROM t
         B - b\nE -\nB - i 7\nE -\nB - c\nE -\nS\nB - c\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "a block begun or ended within a pipeline",
        "P b BEGIN\nB - b\nE -\nP i INSERT INTO t VALUES ($1) RETURNING id\nB - i 7\nE -\nS\nB - i 8\nE -\nS\nQ COMMIT\nQ SELECT count(*) FROM t
         Q BEGIN\nQ SELECT 1\nP c COMMIT\nB - c\nE -\nB - i 9\nE -\nS\nQ SELECT count(*) FROM t\nQ BEGIN\nB - i 10\nE -\nS\nP r ROLLBACK\nB - r\nE -\nB - i 11\nE -\nB - b\nE -\nB - i 12\nE -\nS\nQ ROLLBACK\nQ SELECT count(*) FROM t
         P q SELECT 1\nB - b\nE -\nB - q\nE -\nS\nB - q\nE -\nB - c\nE -\nB - q\nE -\nS\nB - b\nE -\nS\nB - b\nE -\nB - i 13\nE -\nB - c\nE -\nB - b\nE -\nS\nB - r\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "many at once",
        "P - SELECT 1\nB - -\nE -\ns\nP - SELECT 1/0\nB - -\nE -\ns\nP - SELECT 3\nB - -\nE -\ns\n< Z\n< Z\n< Z",
    ),
    ("mixed with simple queries", "P - SELECT 1\nB - -\nE -\nS\nQ SELECT 2\nB - -\nE -\nS\nP - SELECT 3\nB x -\nQ SELECT 4\nE x\nS"),
    ("a simple query inside a pipeline", "P i INSERT INTO t VALUES (7)\nB - i\nE -\nQ SELECT count(*) FROM t\nS\nQ SELECT count(*) FROM t"),
    ("empty statements", "P - \nB - -\nD P -\nE -\nS\nP -  -- a remark\nB - -\nE -\nS"),
    (
        "descriptions",
        "P w INSERT INTO t VALUES ($1, $2, $3)\nD S w\nS\nP r DELETE FROM t WHERE id = $1 RETURNING *\nD S r\nS\nP b BEGIN\nD S b\nS
         P x SELECT $1::timestamptz, $2::numeric(5,2), $3::t\nD S x\nS",
    ),
    (
        "a table that changes under a statement",
        "P s SELECT * FROM t WHERE id = 1\nB - s\nE -\nS\nQ ALTER TABLE t ADD z int\nB - s\nE -\nS\nP s2 SELECT * FROM t\nD S s2\nS",
    ),
    (
        "copying in",
        "P - COPY t FROM STDIN\nB - -\nE -\nH\n< G\nd 7\\t70\\tseven\\n\nc\nS\nQ SELECT count(*) FROM t",
    ),
    ("copying out", "P - COPY t TO STDOUT\nB - -\nD P -\nE -\nS"),
    ("copying in that fails", "P - COPY t FROM STDIN\nB - -\nE -\nH\n< G\nd 7\\t\nf no\nS\nQ SELECT count(*) FROM t"),
    (
        "writes",
        "P i INSERT INTO t VALUES ($1, $2, $3) RETURNING id\nP u UPDATE t SET v = $1 WHERE id = $2\nP d DELETE FROM t WHERE v = $1
         B - i 7 | 1 | x\nE -\nB - u 2 | 7\nE -\nB - d 2\nE -\nS\nB - u 5 | 100\nE -\nS",
    ),
    (
        "statements and savepoints",
        "Q BEGIN\nP v SAVEPOINT a\nB - v\nE -\nP - SELECT 1/0\nB - -\nE -\nS\nP - ROLLBACK TO a\nB - -\nE -\nS\nB - v\nE -\nS\nQ COMMIT",
    ),
    ("limits on what has no rows", "P - UPDATE t SET v = 0 RETURNING id\nB - -\nE - 1\nE - 1\nE -\nS\nP - BEGIN\nB - -\nE - 1\nS\nQ ROLLBACK"),
    ("a Sync alone", "S\nS\nH\nS\nQ BEGIN\nS\nQ ROLLBACK"),
    ("everything discarded", "P s SELECT 1\nS\nQ DISCARD ALL\nB - s\nE -\nS\nP s SELECT 1\nQ DEALLOCATE s\nB - s\nS"),
];
