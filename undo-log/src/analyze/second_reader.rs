//! sqlparser as the second opinion on a write: same verb, same table, same columns, same number of rows.
//!
//! It reads a plain re-spelling of our tokens (comments gone, every literal a simple one), so that neither
//! `sql_mode` nor a string's contents can lead it astray. Its rendering and its spans are never used.

use super::{
    Unsupported,
    write::{Verb, Write},
};
use crate::sql::{Kind, Token, identifier};
use sqlparser::{
    ast::{
        AssignmentTarget, Delete, FromTable, Insert, ObjectName, SetExpr, Statement, TableFactor,
        TableObject, TableWithJoins, Update,
    },
    dialect::MySqlDialect,
    parser::{Parser, ParserError},
};

pub(super) fn confirm(sql: &str, tokens: &[Token], write: &Write) -> Result<(), Unsupported> {
    let statements = read(sql, tokens)
        .map_err(|e| Unsupported::new(format!("a statement the parser cannot read ({e})")))?;
    let [statement] = statements.as_slice() else {
        return Err(Unsupported::new("several statements in one"));
    };
    let agreed = match (write.verb, statement) {
        (Verb::Insert, Statement::Insert(insert)) => same_insert(insert, write),
        (Verb::Update, Statement::Update(update)) => same_update(update, write),
        (Verb::Delete, Statement::Delete(delete)) => same_delete(delete, write),
        _ => None,
    };
    agreed.ok_or_else(|| Unsupported::new("a statement that two readers understand differently"))
}

pub(super) fn read(sql: &str, tokens: &[Token]) -> Result<Vec<Statement>, ParserError> {
    let plain = respell(sql, tokens);
    let parser = Parser::new(&MySqlDialect {}).with_recursion_limit(200);
    parser.try_with_sql(&plain).and_then(|mut parser| parser.parse_statements())
}

fn respell(sql: &str, tokens: &[Token]) -> String {
    let mut plain = String::with_capacity(sql.len());
    let mut last_end = 0;
    for token in tokens {
        if token.start > last_end || token.start == 0 {
            plain.push(' ');
        }
        last_end = token.end;
        let text = &sql[token.span()];
        match token.kind {
            Kind::String => plain.push_str("'s'"),
            Kind::Number if text.contains('\'') => plain.push_str("'s'"),
            Kind::Quoted if text.starts_with('"') => {
                plain.push_str(&identifier(&text[1..text.len() - 1].replace("\"\"", "\"")));
            }
            Kind::Word | Kind::Quoted | Kind::Number | Kind::Param | Kind::Variable | Kind::Punct => {
                plain.push_str(text)
            }
        }
    }
    plain
}

/// The last part and the one before it; longer names are not of one table in one schema.
fn same_name(name: &ObjectName, write: &Write) -> Option<()> {
    let parts: Option<Vec<&str>> = name.0.iter().map(|p| p.as_ident().map(|i| i.value.as_str())).collect();
    let ours: Vec<&str> =
        write.table.schema.iter().map(String::as_str).chain([write.table.name.as_str()]).collect();
    // sqlparser keeps doubled quotes in identifiers as they stand.
    let parts: Vec<String> = parts?.iter().map(|p| p.replace("``", "`")).collect();
    let ours: Vec<String> = ours.iter().map(|p| p.replace("``", "`")).collect();
    (parts == ours).then_some(())
}

fn same_table(table: &TableWithJoins, write: &Write) -> Option<()> {
    match &table.relation {
        TableFactor::Table { name, args: None, partitions, .. }
            if table.joins.is_empty() && partitions.is_empty() =>
        {
            same_name(name, write)
        }
        _ => None,
    }
}

fn same_column(name: &ObjectName, ours: &str) -> bool {
    name.0
        .last()
        .and_then(|p| p.as_ident())
        .is_some_and(|i| i.value.replace("``", "`") == ours.replace("``", "`"))
}

fn same_insert(insert: &Insert, write: &Write) -> Option<()> {
    let TableObject::TableName(name) = &insert.table else { return None };
    same_name(name, write)?;
    let plain = !insert.ignore && !insert.overwrite && !insert.replace_into && insert.on.is_none();
    let plain =
        plain && insert.returning.is_none() && insert.priority.is_none() && insert.partitioned.is_none();
    if !plain {
        return None;
    }
    if !insert.assignments.is_empty() {
        let columns = write.rows.columns.as_ref()?;
        return (columns.len() == insert.assignments.len() && write.rows.rows.len() == 1).then_some(());
    }
    let ours = write.rows.columns.as_deref().unwrap_or_default();
    let same = insert.columns.len() == ours.len()
        && insert.columns.iter().zip(ours).all(|(theirs, ours)| same_column(theirs, ours));
    let SetExpr::Values(values) = insert.source.as_ref()?.body.as_ref() else { return None };
    let widths: Vec<usize> = values.rows.iter().map(|r| r.content.len()).collect();
    let ours: Vec<usize> = write.rows.rows.iter().map(Vec::len).collect();
    (same && widths == ours).then_some(())
}

fn same_update(update: &Update, write: &Write) -> Option<()> {
    same_table(&update.table, write)?;
    if update.from.is_some() || update.returning.is_some() || update.assignments.len() != write.assigned.len()
    {
        return None;
    }
    let same = update.assignments.iter().zip(&write.assigned).all(|(theirs, ours)| match &theirs.target {
        AssignmentTarget::ColumnName(name) => same_column(name, ours),
        AssignmentTarget::Tuple(_) => false,
    });
    same.then_some(())
}

fn same_delete(delete: &Delete, write: &Write) -> Option<()> {
    if !delete.tables.is_empty() || delete.using.is_some() || delete.returning.is_some() {
        return None;
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    match from.as_slice() {
        [table] => same_table(table, write),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        analyze::{ValueKind, Verb, analyze_write},
        sql::SqlMode,
    };

    fn read(sql: &str) -> Result<crate::analyze::Write, crate::analyze::Unsupported> {
        analyze_write(sql.as_bytes(), SqlMode::default())
    }

    #[test]
    fn single_table_writes_are_understood() {
        let cases = [
            ("UPDATE t SET a=1", Verb::Update, "t", "t", None),
            (
                "UPDATE shop.`or``der` AS o SET o.a = b+1, `b` = 'x,y' WHERE id IN (1,2)",
                Verb::Update,
                "shop.or`der",
                "shop.`or``der` AS o",
                Some("WHERE id IN (1,2)"),
            ),
            (
                "update kv T set T.V=T.V+10 where t.ID=? order by id desc limit 1;",
                Verb::Update,
                "kv",
                "kv T",
                Some("where t.ID=? order by id desc limit 1"),
            ),
            ("DELETE FROM t WHERE a = (SELECT 1)", Verb::Delete, "t", "t", Some("WHERE a = (SELECT 1)")),
            ("DELETE FROM t", Verb::Delete, "t", "t", None),
            ("INSERT INTO t VALUES (1,'a'),(2,DEFAULT)", Verb::Insert, "t", "t", None),
            ("INSERT t(a,b) VALUE (NOW(), ?)", Verb::Insert, "t", "t", None),
            ("INSERT INTO t SET a = 1, b = ?", Verb::Insert, "t", "t", None),
        ];
        for (sql, verb, table, target, tail) in cases {
            let write = read(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!((write.verb, write.table.to_string().as_str()), (verb, table), "{sql}");
            assert_eq!(&sql[write.target], target, "{sql}");
            assert_eq!(write.tail.map(|t| &sql[t]), tail, "{sql}");
        }
    }

    #[test]
    fn values_are_told_apart() {
        let write = read("INSERT INTO t(a,b,c,d,e,f) VALUES (-1, 'x', ?, NULL, DEFAULT, 1+?), (1,?,3,4,5,6)")
            .unwrap();
        let kinds: Vec<_> = write.rows.rows[0].iter().map(|v| v.kind).collect();
        use ValueKind::{Default, Expression, Null, Number, Param, Text};
        assert_eq!(kinds, [Number, Text, Param(0), Null, Default, Expression]);
        assert_eq!(write.rows.rows[1][1].kind, Param(2));
        assert_eq!(write.params.len(), 3);
    }

    #[test]
    fn unstable_tails_are_seen() {
        for (sql, stable) in [
            ("UPDATE t SET a=RAND() WHERE id=1", true),
            ("UPDATE t SET a=1 WHERE RAND()<0.5", false),
            ("UPDATE t SET a=1 WHERE upd < NOW(6)", false),
            ("UPDATE t SET a=1 WHERE upd < CURRENT_TIMESTAMP", false),
            ("UPDATE t SET a=1 WHERE id IN (SELECT id FROM u)", false),
            ("UPDATE t SET a=1 ORDER BY id LIMIT 3", false),
            ("UPDATE t SET a=1 ORDER BY id", true),
            ("DELETE FROM t WHERE a=@x", false),
            ("DELETE FROM t WHERE f(a)", false),
            ("DELETE FROM t WHERE ABS(a) > 1", true),
        ] {
            assert_eq!(read(sql).unwrap().stable, stable, "{sql}");
        }
        let sql = "UPDATE t SET a=1 WHERE b ORDER BY id DESC LIMIT 3";
        assert_eq!(&sql[read(sql).unwrap().order.unwrap()], "ORDER BY id DESC ");
    }

    #[test]
    fn anything_else_is_refused() {
        for sql in [
            "UPDATE IGNORE t SET a=1",
            "UPDATE LOW_PRIORITY t SET a=1",
            "UPDATE ONLY t SET a=1",
            "UPDATE t, u SET t.a=1",
            "UPDATE t JOIN u ON t.a=u.a SET t.a=1",
            "UPDATE t PARTITION (p) SET a=1",
            "UPDATE (SELECT 1) x SET a=1",
            "UPDATE t FOR PORTION OF p FROM 1 TO 2 SET a=1",
            "DELETE QUICK FROM t",
            "DELETE IGNORE FROM t",
            "DELETE LOW_PRIORITY FROM t",
            "DELETE a FROM t a",
            "DELETE FROM a USING t a",
            "DELETE FROM t, u",
            "DELETE FROM t WHERE a=1 RETURNING a",
            "DELETE FROM t RETURNING a",
            "DELETE HISTORY FROM t",
            "INSERT IGNORE INTO t VALUES (1)",
            "INSERT DELAYED INTO t VALUES (1)",
            "INSERT INTO t SELECT 1",
            "INSERT INTO t (SELECT 1)",
            "INSERT INTO t(a) SELECT 1",
            "INSERT INTO t TABLE u",
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=1",
            "INSERT INTO t SET a=1 ON DUPLICATE KEY UPDATE a=1",
            "INSERT INTO t VALUES (1) AS n ON DUPLICATE KEY UPDATE a=1",
            "INSERT INTO t VALUES (1) RETURNING a",
            "INSERT INTO t PARTITION (p) VALUES (1)",
            "INSERT INTO t VALUES ROW(1)",
            "INSERT INTO t VALUES (1,)",
            "INSERT INTO a.b.c VALUES (1)",
            "UPDATE t SET a=1 WHERE ROW_COUNT() = 1",
            "UPDATE t SET a=1 WHERE (b=1",
            "UPDATE t SET (a,b)=(1,2)",
            "UPDATE t SET a=1; DELETE FROM t",
        ] {
            assert!(read(sql).is_err(), "{sql}: {:?}", read(sql));
        }
    }

    #[test]
    fn a_string_cannot_lead_the_second_reader_astray() {
        let mode = SqlMode { ansi_quotes: true, no_backslash_escapes: true };
        let write = analyze_write(br#"UPDATE "t" SET a='\' WHERE b='x'"#, mode).unwrap();
        assert_eq!(write.table.name, "t");
        assert_eq!(write.tail, Some(21..32));
    }
}
