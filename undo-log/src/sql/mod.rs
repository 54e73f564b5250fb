//! MySQL text: cutting it into tokens as the server does, and writing literals it reads back exactly.

mod lexer;
mod literal;

pub use lexer::{Kind, LexError, SqlMode, Token, tokens};
pub use literal::{hex, identifier, quoted};
