//! What foreign keys keep from whom, the same on every server: a statement inside a global transaction that is not decided, and what
//! others may do meanwhile.

/// A parent with two keys that are referred to.
pub const TABLES: &str = "CREATE TABLE p (id INT PRIMARY KEY, code VARCHAR(20) NOT NULL UNIQUE, v INT);
INSERT INTO p VALUES (1, 'one', 0), (2, 'two', 0), (3, 'three', 0);
CREATE TABLE c (id INT PRIMARY KEY, p_id INT, p_code VARCHAR(20), v INT,
  FOREIGN KEY (p_id) REFERENCES p (id), FOREIGN KEY (p_code) REFERENCES p (code));
INSERT INTO c VALUES (10, 1, NULL, 0), (20, 2, 'two', 0);
";

/// What is held, and what others may do or not.
pub struct Case {
    /// Inside the global transaction.
    pub held: &'static str,
    /// These must wait, inside a global transaction and outside.
    pub waits: &'static [&'static str],
    /// These need not.
    pub free: &'static [&'static str],
}

/// All of them.
pub const CASES: [Case; 8] = [
    // Its undo needs the parent again.
    Case {
        held: "DELETE FROM c WHERE id = 10",
        waits: &["DELETE FROM p WHERE id = 1", "UPDATE p SET id = 9 WHERE id = 1"],
        free: &[
            "UPDATE p SET v = v + 1 WHERE id = 1",
            "INSERT INTO c VALUES (11, 1, NULL, 0)",
            "DELETE FROM p WHERE id = 3",
        ],
    },
    Case {
        held: "UPDATE c SET p_id = 3 WHERE id = 10",
        waits: &["DELETE FROM p WHERE id = 1"],
        free: &["UPDATE p SET v = v + 1 WHERE id = 1", "UPDATE p SET v = v + 1 WHERE id = 3"],
    },
    Case {
        held: "UPDATE c SET p_code = NULL WHERE id = 20",
        waits: &["UPDATE p SET code = 'zwei' WHERE id = 2"],
        free: &["INSERT INTO c VALUES (11, 2, 'two', 0)", "UPDATE p SET code = 'uno' WHERE id = 1"],
    },
    // Its undo would take away what others have come to refer to.
    Case {
        held: "INSERT INTO p VALUES (4, 'four', 0)",
        waits: &[
            "INSERT INTO c VALUES (40, 4, NULL, 0)",
            "INSERT INTO c VALUES (40, NULL, 'four', 0)",
            "UPDATE c SET p_id = 4 WHERE id = 20",
        ],
        free: &["INSERT INTO c VALUES (41, 3, 'three', 0)", "UPDATE c SET v = v + 1 WHERE id = 20"],
    },
    Case {
        held: "UPDATE p SET id = 5 WHERE id = 3",
        waits: &["INSERT INTO c VALUES (40, 5, NULL, 0)"],
        free: &["INSERT INTO c VALUES (41, 2, 'two', 0)"],
    },
    Case {
        held: "UPDATE p SET code = 'drei' WHERE id = 3",
        waits: &["INSERT INTO c VALUES (40, NULL, 'drei', 0)"],
        free: &["INSERT INTO c VALUES (41, 3, NULL, 0)"],
    },
    // A parent that stays what it is keeps nobody waiting.
    Case {
        held: "UPDATE p SET v = 5",
        waits: &["UPDATE p SET v = 6 WHERE id = 2"],
        free: &[
            "INSERT INTO c VALUES (41, 1, 'one', 0)",
            "UPDATE c SET p_id = 3 WHERE id = 20",
            "DELETE FROM c WHERE id = 10",
        ],
    },
    Case {
        held: "INSERT INTO c VALUES (50, 3, 'three', 0)",
        waits: &["UPDATE c SET v = 1 WHERE id = 50"],
        free: &[
            "UPDATE p SET v = v + 1 WHERE id = 3",
            "INSERT INTO c VALUES (51, 3, 'three', 0)",
            "UPDATE p SET id = 3, code = 'three', v = 9 WHERE id = 3",
        ],
    },
];
