//! Says statements to MySQL.

use crate::session::{Answer, Told};
use crate::statement::{Param, Statement};
use atone_tests::Failure;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value};

/// Runs a statement, and writes down all that a client learns.
pub async fn run(conn: &mut Conn, statement: &Statement) -> Result<Told, Failure> {
    let rows: Result<Vec<Row>, mysql_async::Error> = if statement.prepared {
        let (text, params) = statement.bound(|_| "?".to_owned());
        let params: Vec<Value> = params.into_iter().map(value).collect();
        conn.exec(text, if params.is_empty() { Params::Empty } else { Params::Positional(params) }).await
    } else {
        conn.query(statement.text()).await
    };
    let answer = match rows {
        Ok(rows) => {
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            rows.sort();
            // Where no row can match, the servers answer an UPDATE without counts, and where none does, with them: that is up to
            // the plan (MariaDB leaves them out on a partitioned table although a row matches, as it is). A statement that is
            // run on the keys of the captured rows has another plan. So counts are not compared where nothing was changed.
            let info = conn.info().into_owned();
            let info = if info.contains("Changed: 0  Warnings: 0") { String::new() } else { info };
            Answer::Done(
                conn.affected_rows(),
                format!(
                    "{} affected, last insert id {:?}, info {info:?}, {} warnings, rows {rows:?}",
                    conn.affected_rows(),
                    conn.last_insert_id(),
                    conn.get_warnings()
                ),
            )
        }
        Err(mysql_async::Error::Server(error)) => {
            Answer::error(format!("{} {}", error.code, error.state), without_row(error.message))
        }
        Err(other) => return Err(Failure::new(format!("{}: {other}", statement.text()))),
    };
    Ok(Told { answer, state: ' ' })
}

/// Which row comes first is up to the server's plan, which is another one for a statement that is run on keys.
fn without_row(sentence: String) -> String {
    match sentence.rsplit_once(" at row ") {
        Some((before, _)) => format!("{before} at row …"),
        None => sentence,
    }
}

fn value(param: Param) -> Value {
    match param {
        Param::Null => Value::NULL,
        Param::Text(text) => Value::Bytes(text.into_bytes()),
        Param::Bytes(bytes) => Value::Bytes(bytes),
        Param::Int(number) => Value::Int(number),
        Param::UInt(number) => Value::UInt(number),
        Param::Double(number) => Value::Double(number),
    }
}
