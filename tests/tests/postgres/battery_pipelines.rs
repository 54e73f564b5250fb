//! Simple Queries that stand within a pipeline of the extended protocol. Up to PostgreSQL 17 each ends it. On 18 one of a single
//! statement, behind an Execute, is a part of it, and a Sync right behind the Query commits nothing: the next statement then
//! fails («StartTransactionCommand: unexpected state STARTED»), and all of it is undone. In the language of
//! `atone_tests::postgres::script`.

/// A name and what is said.
pub const WITHIN: &[(&str, &str)] = &[
    (
        "a read behind a write",
        "P i INSERT INTO t VALUES ($1)\nS\nB - i 17\nE -\nQ SELECT 1\nB - i 8\nE -\nS\nQ SELECT count(*) FROM t
         B - i 9\nE -\nB - i 10\nE -\nQ SELECT 1\nB - i 19\nE -\nS\nQ SELECT count(*) FROM t\nB - i 20\nE -\nQ SELECT 1\nC S nothing\nH\nB - i 21\nE -\nS\nQ INSERT INTO t VALUES (11)\nQ SELECT count(*) FROM t",
    ),
    (
        "writes behind a write",
        "P i INSERT INTO t VALUES ($1) RETURNING id\nS\nB - i 9\nE -\nQ UPDATE t SET v = 1 WHERE id = 1\nB - i 10\nE -\nQ DELETE FROM c\nB - i 11\nE -\nS\nQ TABLE t
         B - i 13\nE -\nQ MERGE INTO t USING c ON t.id = c.t_id WHEN MATCHED THEN UPDATE SET v = 2\nB - i 14\nE -\nS\nQ TABLE t",
    ),
    (
        "behind reads",
        "P r SELECT 1\nB - r\nE -\nQ SELECT 2\nS\nQ SELECT 3\nQ SELECT 3\nB - r\nE -\nQ SELECT 2\nB - r\nE -\nS\nB - r\nE -\nQ INSERT INTO t VALUES (8)\nB - r\nE -\nS\nQ SELECT count(*) FROM t
         P i INSERT INTO t VALUES ($1)\nS\nB - r\nE -\nQ SELECT 5\nB - i 9\nE -\nS\nQ SELECT count(*) FROM t\nB - r\nE -\nQ SELECT 5\nQ SELECT 6\nQ INSERT INTO t VALUES (10)\nQ SELECT 7\nB - i 11\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "reads that are lost, and what comes next",
        "P r SELECT 1\nP i INSERT INTO t VALUES ($1)\nB - r\nE -\nQ SELECT 2\nS\nB - i 7\nE -\nS\nB - i 7\nE -\nS\nB - r\nE -\nQ SELECT 2\nS\nS\nQ INSERT INTO t VALUES (8)\nQ INSERT INTO t VALUES (8)\nB - r\nE -\nQ SELECT 2\nS\nC S r\nS\nP r SELECT 4\nS\nC S r\nS
         P r SELECT 4\nB - r\nE -\nQ SELECT 2\nS\nB - none\nS\nQ BEGIN\nQ COMMIT\nB - r\nE -\nQ SELECT 2\nS\nQ BEGIN\nQ BEGIN\nQ UPDATE t SET v = 3\nQ COMMIT\nQ SELECT count(*) FROM t",
    ),
    (
        "before any Execute",
        "P r SELECT 1\nQ SELECT 2\nB - r\nE -\nS\nP r2 SELECT 1\nQ INSERT INTO t VALUES (7)\nB - r2\nE -\nS\nP i INSERT INTO t VALUES ($1)\nB - i 8\nQ SELECT 2\nE -\nS\nB - i 8\nQ INSERT INTO t VALUES (9)\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "errors",
        "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nQ SELECT 1/0\nS\nQ SELECT count(*) FROM t\nB - i 7\nE -\nQ SELECT 1\nB - i 7\nE -\nS\nQ SELECT count(*) FROM t\nB - i 8\nE -\nQ INSERT INTO t VALUES (8)\nB - i 8\nE -\nS\nQ SELECT count(*) FROM t
         B - i 9\nE -\nQ nonsense\nS\nB - i 9\nE -\nQ INSERT INTO t VALUES (10)\nB - nothing\nS\nQ SELECT count(*) FROM t\nB - i 9\nE -\nB - i 9\nE -\nq SELECT 1\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "texts of several statements, and of none",
        "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nQ SELECT 1; SELECT 2\nS\nQ SELECT count(*) FROM t\nB - i 8\nE -\nQ UPDATE t SET v = 1; SELECT 2\nB - i 9\nE -\nS\nQ SELECT count(*) FROM t\nB - i 10\nE -\nQ ;\nB - i 11\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "blocks",
        "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nQ BEGIN\nB - i 8\nE -\nS\nQ ROLLBACK\nQ SELECT count(*) FROM t\nB - i 9\nE -\nQ COMMIT\nB - i 10\nE -\nS\nQ SELECT count(*) FROM t\nB - i 11\nE -\nQ ROLLBACK\nS\nQ SELECT count(*) FROM t
         Q BEGIN\nB - i 13\nE -\nQ SELECT 1\nS\nQ SELECT 2\nB - i 14\nE -\nQ UPDATE t SET v = 3\nQ COMMIT\nQ SELECT count(*) FROM t\nB - i 15\nE -\nQ SET work_mem = 1000\nB - i 16\nE -\nS\nQ SHOW work_mem\nQ SELECT count(*) FROM t",
    ),
    ("what refuses blocks", "P i INSERT INTO t VALUES ($1)\nB - i 12\nE -\nQ VACUUM t\nS\nQ SELECT count(*) FROM t"),
    (
        "what needs blocks",
        "P i INSERT INTO t VALUES ($1)\nB - i 13\nE -\nQ SELECT 1; LOCK TABLE t; VACUUM t\nS\nQ SELECT count(*) FROM t",
    ),
];

/// Writes that 18 undoes though it has said that it was ready. Nothing else is written behind them.
pub const LOST: &[(&str, &str)] = &[
    (
        "a read behind a write",
        "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nQ SELECT count(*) FROM t\nS\nQ SELECT count(*) FROM t\nQ SELECT count(*) FROM t",
    ),
    (
        "a Close behind the Query, and a Sync",
        "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nB - i 8\nE -\nQ SELECT 1\nC S nothing\nH\nS\nS\nC S nothing\nS\nQ SELECT count(*) FROM t\nQ SELECT count(*) FROM t",
    ),
    (
        "a write behind a write",
        "P i INSERT INTO t VALUES ($1) RETURNING id\nB - i 7\nE -\nQ INSERT INTO t VALUES (8) RETURNING v\nS\nQ SELECT count(*) FROM t\nQ SELECT count(*) FROM t",
    ),
    (
        "several Queries",
        "P i INSERT INTO t VALUES ($1)\nB - i 12\nE -\nQ UPDATE t SET v = 5\nQ UPDATE t SET v = 6\nQ TABLE t\nS\nQ TABLE t\nQ TABLE t",
    ),
    (
        "a write behind a read",
        "P r SELECT 1\nB - r\nE -\nQ INSERT INTO t VALUES (7)\nS\nP x SELECT 2\nB - x\nE -\nS\nB - r\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "and what is bound next",
        "P r SELECT 1\nS\nP i INSERT INTO t VALUES ($1)\nB - i 12\nE -\nQ ;\nS\nB - r\nE -\nS\nB - r\nE -\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "and something unknown is bound",
        "P i INSERT INTO t VALUES ($1)\nB - i 12\nE -\nQ SELECT 1\nS\nB - none\nS\nQ SELECT count(*) FROM t",
    ),
    (
        "and a block is begun",
        "P i INSERT INTO t VALUES ($1)\nB - i 12\nE -\nQ SELECT 1\nS\nQ BEGIN\nQ SELECT count(*) FROM t\nQ COMMIT\nQ SELECT count(*) FROM t",
    ),
];

/// The same, and a write behind it.
pub const LOST_AND_MORE: &[(&str, &str)] = &[(
    "more writes",
    "P i INSERT INTO t VALUES ($1)\nB - i 7\nE -\nQ SELECT count(*) FROM t\nS\nQ SELECT count(*) FROM t\nB - i 7\nE -\nS\nB - i 9\nE -\nQ UPDATE t SET v = 5\nS\nQ UPDATE t SET v = 6\nQ UPDATE t SET v = 7\nQ TABLE t",
)];
