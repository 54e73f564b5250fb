//! The shop's three programs. None knows that there is a proxy: each opens a MySQL connection and says SQL. What ties
//! them together is the xid, handed over as an argument here, and as an HTTP header in a real shop.

use super::front::{ENDED, HALF_WAY};
use super::shop::SCHEMA;
use crate::{Context, Failure, Result, sql};
use mysql_async::prelude::Queryable;
use std::process::Command;

fn port(text: &str) -> Result<u16> {
    text.parse().or_fail(format!("'{text}' is no port"))
}

/// `shop-front ORDERS-PORT ACCOUNTS-PORT CUSTOMER ITEM COUNT TIMEOUT-MS`: begins, calls both services, ends.
pub async fn shop_front(args: &[&str]) -> Result<()> {
    let [orders, accounts, customer, item, count, timeout_ms] = args else {
        return Err(Failure::new("shop-front takes six arguments"));
    };
    let mut conn = sql::connect_app(port(orders)?, SCHEMA).await?;
    let xid = sql::one(&mut conn, &format!("SELECT atone_begin('{customer} buys', {timeout_ms})")).await?;
    let xid = xid.or_fail("atone_begin() answered NULL")?;
    println!("shop front: begins {xid}");
    let price =
        sql::one(&mut conn, &format!("SELECT price * {count} FROM stock WHERE item = '{item}'")).await?;
    let price = price.or_fail(format!("there is no {item}"))?;

    let ordered = service(&["order-service", orders, &xid, customer, item, count, &price])?;
    println!("shop front: {HALF_WAY}");
    std::io::stdin().read_line(&mut String::new()).or_fail("waiting to go on")?;
    let paid = ordered && service(&["account-service", accounts, &xid, customer, &price])?;

    let status = if paid { sql::commit(&mut conn).await? } else { sql::rollback(&mut conn).await? };
    println!("shop front: {ENDED}{status}");
    Ok(())
}

/// Calls a service, as a process instead of over the network, and tells whether it did its part.
fn service(args: &[&str]) -> Result<bool> {
    let program = std::env::current_exe().or_fail("finding this program")?;
    Ok(Command::new(program).args(args).status().or_fail(args[0])?.success())
}

/// `order-service PORT XID CUSTOMER ITEM COUNT AMOUNT`: takes goods from the stock and writes the order.
pub async fn order_service(args: &[&str]) -> Result<()> {
    let [orders, xid, customer, item, count, amount] = args else {
        return Err(Failure::new("order-service takes six arguments"));
    };
    let mut conn = sql::connect_app(port(orders)?, SCHEMA).await?;
    sql::join(&mut conn, xid).await?;
    conn.query_drop("START TRANSACTION").await?;
    conn.exec_drop(
        "UPDATE stock SET pieces = pieces - ? WHERE item = ? AND pieces >= ?",
        (count, item, count),
    )
    .await?;
    if conn.affected_rows() == 0 {
        println!("order service: there are not {count} × {item} left");
        return Err(Failure::new("order service: refused"));
    }
    let insert = "INSERT INTO orders (customer, item, pieces, amount) VALUES (?, ?, ?, ?)";
    conn.exec_drop(insert, (customer, item, count, amount)).await?;
    let id = conn.last_insert_id().or_fail("no number for the order")?;
    conn.query_drop("COMMIT").await?;
    println!("order service: joins, takes {count} × {item} from the stock, writes order #{id}, COMMIT");
    Ok(conn.disconnect().await?)
}

/// `account-service PORT XID CUSTOMER AMOUNT`: moves the money, if there is enough.
pub async fn account_service(args: &[&str]) -> Result<()> {
    let [accounts, xid, customer, amount] = args else {
        return Err(Failure::new("account-service takes four arguments"));
    };
    let mut conn = sql::connect_app(port(accounts)?, SCHEMA).await?;
    sql::join(&mut conn, xid).await?;
    conn.query_drop("START TRANSACTION").await?;
    let take = "UPDATE account SET balance = balance - ? WHERE owner = ? AND balance >= ?";
    conn.exec_drop(take, (amount, customer, amount)).await?;
    if conn.affected_rows() == 0 {
        println!("account service: {customer} has not got {amount}; the service fails");
        std::process::exit(1);
    }
    conn.exec_drop("UPDATE account SET balance = balance + ? WHERE owner = 'the shop'", (amount,)).await?;
    conn.query_drop("COMMIT").await?;
    println!("account service: joins, moves {amount} from {customer} to the shop, COMMIT");
    Ok(conn.disconnect().await?)
}
