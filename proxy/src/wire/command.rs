//! What clients ask: the first byte of a command, and the kind of reply that follows.

use super::reply::Expect;

pub const QUIT: u8 = 0x01;
pub const INIT_DB: u8 = 0x02;
pub const QUERY: u8 = 0x03;
pub const FIELD_LIST: u8 = 0x04;
pub const CREATE_DB: u8 = 0x05;
pub const DROP_DB: u8 = 0x06;
pub const STATISTICS: u8 = 0x09;
pub const PROCESS_INFO: u8 = 0x0a;
pub const DEBUG: u8 = 0x0d;
pub const PING: u8 = 0x0e;
pub const CHANGE_USER: u8 = 0x11;
pub const STMT_PREPARE: u8 = 0x16;
pub const STMT_EXECUTE: u8 = 0x17;
pub const STMT_SEND_LONG_DATA: u8 = 0x18;
pub const STMT_CLOSE: u8 = 0x19;
pub const STMT_RESET: u8 = 0x1a;
pub const SET_OPTION: u8 = 0x1b;
pub const STMT_FETCH: u8 = 0x1c;
pub const RESET_CONNECTION: u8 = 0x1f;
/// MariaDB's bulk execute.
pub const STMT_BULK_EXECUTE: u8 = 0xfa;

const REFRESH: u8 = 0x07;
const SHUTDOWN: u8 = 0x08;
const PROCESS_KILL: u8 = 0x0c;
const REGISTER_SLAVE: u8 = 0x15;

/// The reply of a command; None for one we do not know, after which the session is passed on blindly.
pub fn expect(command: u8) -> Option<Expect> {
    Some(match command {
        STMT_SEND_LONG_DATA | STMT_CLOSE | QUIT => Expect::Nothing,
        QUERY | STMT_EXECUTE | PROCESS_INFO | STMT_BULK_EXECUTE => Expect::Results,
        STMT_PREPARE => Expect::Prepared,
        STMT_FETCH => Expect::Rows,
        FIELD_LIST => Expect::Fields,
        INIT_DB | CREATE_DB | DROP_DB | REFRESH | SHUTDOWN | STATISTICS | PROCESS_KILL | DEBUG | PING
        | REGISTER_SLAVE | STMT_RESET | SET_OPTION | RESET_CONNECTION => Expect::One,
        _ => return None,
    })
}

/// Commands that neither write rows nor end a local transaction, and so may pass inside a global transaction.
pub fn harmless(command: u8) -> bool {
    matches!(
        command,
        QUIT | FIELD_LIST | STATISTICS | PROCESS_INFO | PROCESS_KILL | DEBUG | PING | STMT_SEND_LONG_DATA | STMT_CLOSE
            | STMT_RESET | SET_OPTION | STMT_FETCH | STMT_PREPARE
    )
}
