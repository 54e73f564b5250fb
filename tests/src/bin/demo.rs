//! `cargo demo`: a shop whose orders change three databases together, and change back together.
//!
//! The same binary is also each of the shop's programs: it starts itself as `shop-front`, `order-service`,
//! `account-service`, `stock-service` and `courier-service`, processes of their own that know only ports and an xid.

use atone_tests::demo::{self, programs};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        [] => demo::run(false).await,
        ["--keep"] => demo::run(true).await,
        ["shop-front", rest @ ..] => programs::shop_front(rest).await,
        ["order-service", rest @ ..] => programs::order_service(rest).await,
        ["account-service", rest @ ..] => programs::account_service(rest).await,
        ["stock-service", rest @ ..] => programs::stock_service(rest).await,
        ["courier-service", rest @ ..] => programs::courier_service(rest),
        _ => {
            eprintln!(
                "usage: cargo demo [-- --keep]\n\n  --keep  leave all servers running, to try things by hand"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
