//! The shop's programs. None knows that there is a proxy: each opens a connection with the ordinary driver of its database and
//! says SQL. What ties them together is the xid, handed over as an argument here, and as an HTTP header in a real shop.

use super::front::{ENDED, HALF_WAY};
use super::shop::SCHEMA;
use crate::postgres::sql as pg;
use crate::servers::database::APP;
use crate::{Context, Failure, Result, sql};
use mysql_async::prelude::Queryable;
use std::process::Command;

/// Where no courier goes.
const TOO_FAR: &str = "Charles";

fn port(text: &str) -> Result<u16> {
    text.parse().or_fail(format!("'{text}' is no port"))
}

/// `shop-front ORDERS-PORT ACCOUNTS-PORT LEDGER-PORT CUSTOMER ITEM COUNT TIMEOUT-MS`: begins, calls the services, ends.
pub async fn shop_front(args: &[&str]) -> Result<()> {
    let [orders, accounts, ledger, customer, item, count, timeout_ms] = args else {
        return Err(Failure::new("shop-front takes seven arguments"));
    };
    let mut conn = sql::connect_app(port(orders)?, SCHEMA).await?;
    let xid = sql::one(&mut conn, &format!("SELECT atone_begin('{customer} buys', {timeout_ms})")).await?;
    let xid = xid.or_fail("atone_begin() answered NULL")?;
    println!("shop front: begins {xid}");
    let price = format!("SELECT price * {count} FROM item WHERE name = '{item}'");
    let price = sql::one(&mut conn, &price).await?.or_fail(format!("there is no {item}"))?;

    let written = service(&["order-service", orders, &xid, customer, item, count, &price])?
        && service(&["account-service", accounts, &xid, customer, &price])?
        && service(&["stock-service", ledger, &xid, customer, item, count])?;
    println!("shop front: {HALF_WAY}");
    std::io::stdin().read_line(&mut String::new()).or_fail("waiting to go on")?;
    let sent = written && service(&["courier-service", customer])?;

    let status = if sent { sql::commit(&mut conn).await? } else { sql::rollback(&mut conn).await? };
    println!("shop front: {ENDED}{status}");
    Ok(())
}

/// Calls a service, as a process instead of over the network, and tells whether it did its part.
fn service(args: &[&str]) -> Result<bool> {
    let program = std::env::current_exe().or_fail("finding this program")?;
    Ok(Command::new(program).args(args).status().or_fail(args[0])?.success())
}

/// Says why a service fails, and fails.
fn fail(service: &str, why: &str) -> ! {
    println!("{service}: {why}; the service fails");
    std::process::exit(1);
}

/// `order-service PORT XID CUSTOMER ITEM COUNT AMOUNT`: writes the order, in MySQL.
pub async fn order_service(args: &[&str]) -> Result<()> {
    let [orders, xid, customer, item, count, amount] = args else {
        return Err(Failure::new("order-service takes six arguments"));
    };
    let mut conn = sql::connect_app(port(orders)?, SCHEMA).await?;
    sql::join(&mut conn, xid).await?;
    let insert = "INSERT INTO orders (customer, item, pieces, amount) VALUES (?, ?, ?, ?)";
    conn.exec_drop(insert, (customer, item, count, amount)).await?;
    let id = conn.last_insert_id().or_fail("no number for the order")?;
    println!("order service: joins, writes order #{id}");
    Ok(conn.disconnect().await?)
}

/// `account-service PORT XID CUSTOMER AMOUNT`: moves the money, if there is enough, in MariaDB.
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
        fail("account service", &format!("{customer} has not got {amount}"));
    }
    conn.exec_drop("UPDATE account SET balance = balance + ? WHERE owner = 'the shop'", (amount,)).await?;
    conn.query_drop("COMMIT").await?;
    println!("account service: joins, moves {amount} from {customer} to the shop, COMMIT");
    Ok(conn.disconnect().await?)
}

/// `stock-service PORT XID CUSTOMER ITEM COUNT`: takes goods from the stock and packs a parcel, in PostgreSQL.
pub async fn stock_service(args: &[&str]) -> Result<()> {
    let [ledger, xid, customer, item, count] = args else {
        return Err(Failure::new("stock-service takes five arguments"));
    };
    let pieces: i32 = count.parse().or_fail(format!("'{count}' is no count"))?;
    let mut client = pg::connect(port(ledger)?, APP, None).await?;
    pg::join(&client, xid).await?;
    let local = client.transaction().await?;
    let take = "UPDATE stock SET pieces = pieces - $1 WHERE item = $2 AND pieces >= $1";
    if local.execute(take, &[&pieces, item]).await? == 0 {
        fail("stock service", &format!("there are not {pieces} × {item} left"));
    }
    let pack = "INSERT INTO parcel (receiver, item, pieces) VALUES ($1, $2, $3) RETURNING id";
    let parcel: i32 = local.query_one(pack, &[customer, item, &pieces]).await?.get(0);
    local.commit().await?;
    println!("stock service: joins, takes {pieces} × {item}, packs parcel #{parcel}, COMMIT");
    Ok(())
}

/// `courier-service CUSTOMER`: has no database, and does not go everywhere.
pub fn courier_service(args: &[&str]) -> Result<()> {
    let [customer] = args else {
        return Err(Failure::new("courier-service takes one argument"));
    };
    if *customer == TOO_FAR {
        fail("courier service", &format!("no courier goes to {customer}'s lighthouse"));
    }
    println!("courier service: will fetch the parcel for {customer}");
    Ok(())
}
