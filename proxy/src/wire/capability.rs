//! Capability and status flags, as both servers number them.

/// The client wants matched rows, not changed rows, as affected rows.
pub const FOUND_ROWS: u32 = 1 << 1;
/// A schema follows the authentication answer.
pub const CONNECT_WITH_DB: u32 = 1 << 3;
/// zlib compression.
pub const COMPRESS: u32 = 1 << 5;
/// The 4.1 protocol, the only one spoken here.
pub const PROTOCOL_41: u32 = 1 << 9;
/// TLS.
pub const SSL: u32 = 1 << 11;
/// Several statements in one COM_QUERY.
pub const MULTI_STATEMENTS: u32 = 1 << 16;
/// OK in place of EOF at the end of rows.
pub const DEPRECATE_EOF: u32 = 1 << 24;
/// zstd compression.
pub const ZSTD: u32 = 1 << 26;
/// Attributes before the text of a query.
pub const QUERY_ATTRIBUTES: u32 = 1 << 27;

/// Not offered to clients: compression is not relayed.
pub const NOT_RELAYED: u32 = COMPRESS | ZSTD;
/// MariaDB's own flags that are relayed: bulk operations (bit 34) and extended metadata (35). Progress reports,
/// COM_MULTI and cached metadata would change how replies end.
pub const MARIADB_RELAYED: u32 = (1 << 2) | (1 << 3);

/// Status: a local transaction is open.
pub const IN_TRANS: u16 = 1;
/// Status: autocommit is on.
pub const AUTOCOMMIT: u16 = 2;
/// Status: another result follows.
pub const MORE_RESULTS: u16 = 8;
/// Status: a cursor was opened, rows are fetched later.
pub const CURSOR_EXISTS: u16 = 64;
/// Status: the rows are what a procedure gives back.
pub const OUT_PARAMS: u16 = 1 << 12;
/// Status: the open transaction is read only.
pub const IN_TRANS_READONLY: u16 = 1 << 13;
