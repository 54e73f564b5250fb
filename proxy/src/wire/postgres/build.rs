//! The messages that we send ourselves.

use super::message::Bind;

/// Appends a message.
fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend([0; 4]);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text);
    out.push(0);
}

fn shorts(out: &mut Vec<u8>, numbers: &[u16]) {
    out.extend((numbers.len() as u16).to_be_bytes());
    numbers.iter().for_each(|n| out.extend(n.to_be_bytes()));
}

fn value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(bytes) => {
            out.extend((bytes.len() as u32).to_be_bytes());
            out.extend(bytes);
        }
    }
}

/// Parse.
pub fn parse(out: &mut Vec<u8>, name: &str, sql: &str, types: &[u32]) {
    message(out, b'P', |out| {
        text(out, name.as_bytes());
        text(out, sql.as_bytes());
        out.extend((types.len() as u16).to_be_bytes());
        types.iter().for_each(|t| out.extend(t.to_be_bytes()));
    });
}

/// Bind.
pub fn bind(out: &mut Vec<u8>, bind: &Bind) {
    message(out, b'B', |out| {
        text(out, &bind.portal);
        text(out, &bind.statement);
        shorts(out, &bind.formats);
        out.extend((bind.values.len() as u16).to_be_bytes());
        bind.values.iter().for_each(|v| value(out, v.as_deref()));
        shorts(out, &bind.results);
    });
}

/// Describe; `kind` is S or P.
pub fn describe(out: &mut Vec<u8>, kind: u8, name: &str) {
    message(out, b'D', |out| {
        out.push(kind);
        text(out, name.as_bytes());
    });
}

/// Execute to the end.
pub fn execute(out: &mut Vec<u8>, portal: &str) {
    message(out, b'E', |out| {
        text(out, portal.as_bytes());
        out.extend([0; 4]);
    });
}

/// Close; `kind` is S or P.
pub fn close(out: &mut Vec<u8>, kind: u8, name: &str) {
    message(out, b'C', |out| {
        out.push(kind);
        text(out, name.as_bytes());
    });
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    message(out, b'H', |_| {});
}

/// Sync.
pub fn sync(out: &mut Vec<u8>) {
    message(out, b'S', |_| {});
}

/// ErrorResponse.
pub fn error(out: &mut Vec<u8>, severity: &str, state: &str, sentence: &str) {
    message(out, b'E', |out| {
        for (field, content) in [(b'S', severity), (b'V', severity), (b'C', state), (b'M', sentence)] {
            out.push(field);
            let plain: Vec<u8> = content.bytes().filter(|b| *b != 0).take(4096).collect();
            text(out, &plain);
        }
        out.push(0);
    });
}

/// ReadyForQuery.
pub fn ready(out: &mut Vec<u8>, status: u8) {
    message(out, b'Z', |out| out.push(status));
}

/// PortalSuspended.
pub fn suspended(out: &mut Vec<u8>) {
    message(out, b's', |_| {});
}

/// CommandComplete.
pub fn complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| text(out, tag.as_bytes()));
}

/// A RowDescription of one column of type text.
pub fn one_column(out: &mut Vec<u8>, name: &str) {
    message(out, b'T', |out| {
        out.extend(1_u16.to_be_bytes());
        text(out, name.as_bytes());
        out.extend([0; 6]);
        out.extend(25_u32.to_be_bytes());
        out.extend((-1_i16).to_be_bytes());
        out.extend((-1_i32).to_be_bytes());
        out.extend([0; 2]);
    });
}

/// A DataRow.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) {
    message(out, b'D', |out| {
        out.extend((values.len() as u16).to_be_bytes());
        values.iter().for_each(|v| value(out, *v));
    });
}
