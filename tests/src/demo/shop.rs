//! The shop's tables in both databases: made, shown, and checked at the end.

use super::stage;
use super::stalls::Stalls;
use crate::postgres::sql as pg;
use crate::servers::database::{APP, SERVICE};
use crate::servers::postgres::SHOP;
use crate::servers::{Database, Kind};
use crate::{Failure, Result, sql};
use mysql_async::prelude::Queryable;

/// MySQL's schema, of the same name as PostgreSQL's database.
pub(super) const SCHEMA: &str = SHOP;

/// What the order database (MySQL) starts with.
const ORDERS: &[&str] = &[
    "CREATE TABLE stock (item VARCHAR(20) PRIMARY KEY, pieces INT NOT NULL, price DECIMAL(10,2) NOT NULL)",
    "INSERT INTO stock VALUES ('teapot', 10, 20.00), ('lamp', 5, 45.50)",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(20), item VARCHAR(20), pieces INT,
       amount DECIMAL(10,2), at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3))",
];

/// What the account database (PostgreSQL) starts with. A constraint keeps every balance from going below zero.
const ACCOUNTS: &str = "
    CREATE TABLE account (owner text PRIMARY KEY, balance numeric(10,2) NOT NULL CHECK (balance >= 0));
    INSERT INTO account VALUES ('Ada', 100), ('Charles', 15), ('Grace', 80), ('the shop', 0)";

/// The shop, seen past the proxy.
pub(super) struct Shop {
    orders: u16,
    accounts: u16,
}

impl Shop {
    /// Makes the tables.
    pub async fn open(stalls: &Stalls) -> Result<Self> {
        let shop = Self { orders: stalls.orders.port(), accounts: stalls.accounts.port() };
        let mut conn = sql::connect(shop.orders, SERVICE, None).await?;
        conn.query_drop(format!("CREATE DATABASE {SCHEMA}")).await?;
        conn.query_drop(format!("USE {SCHEMA}")).await?;
        for statement in ORDERS {
            conn.query_drop(*statement).await?;
        }
        // The application owns its tables, as the shop's own migrations would have it.
        let service = pg::connect(shop.accounts, SERVICE, None).await?;
        service.batch_execute(&format!("CREATE SCHEMA {0} AUTHORIZATION {0}", APP.0)).await?;
        pg::connect(shop.accounts, APP, None).await?.batch_execute(ACCOUNTS).await?;
        Ok(shop)
    }

    /// One value of the order database.
    async fn order(&self, statement: &str) -> Result<String> {
        let mut conn = sql::connect(self.orders, SERVICE, Some(SCHEMA)).await?;
        Ok(sql::one(&mut conn, statement).await?.unwrap_or_else(|| "none".into()))
    }

    /// One value of the account database.
    async fn account(&self, statement: &str) -> Result<String> {
        let client = pg::connect(self.accounts, APP, None).await?;
        Ok(pg::one(&client, statement).await?.unwrap_or_else(|| "none".into()))
    }

    /// Prints every row of both databases, and gives them as text.
    pub async fn show(&self, when: &str) -> Result<String> {
        let list =
            |parts: &str, from: &str| format!("SELECT GROUP_CONCAT({parts} SEPARATOR ', ') FROM {from}");
        let stock = self.order(&list("item, ' ', pieces ORDER BY item DESC", "stock")).await?;
        let orders =
            list("'#', id, ' ', customer, ' ', pieces, ' ', item, ' ', amount ORDER BY id", "orders");
        let orders = self.order(&orders).await?;
        let accounts = "SELECT string_agg(owner || ' ' || balance, ', ' ORDER BY owner) FROM account";
        let accounts = self.account(accounts).await?;
        stage::says(&format!("{when:<9}MySQL"), &format!("stock: {stock} · orders: {orders}"));
        stage::says(&format!("{:<9}Postgres", ""), &format!("accounts: {accounts}"));
        Ok(format!("{stock}\n{orders}\n{accounts}"))
    }

    /// Checks that no money and no goods were made or lost; gives a line for each thing that holds.
    pub async fn check(&self) -> Result<Vec<String>> {
        let money = self.account("SELECT SUM(balance) FROM account").await?;
        let till = self.account("SELECT balance FROM account WHERE owner = 'the shop'").await?;
        let sold = self.order("SELECT SUM(amount) FROM orders").await?;
        let goods =
            self.order("SELECT (SELECT SUM(pieces) FROM stock) + (SELECT SUM(pieces) FROM orders)").await?;
        let checks = [
            ("all accounts together hold what they held at the start", money, "195.00".to_owned()),
            ("the shop's account (PostgreSQL) holds the value of all orders (MySQL)", till, sold),
            ("stock and orders together are the goods of the start", goods, "15".to_owned()),
        ];
        checks.into_iter().map(holds).collect()
    }
}

fn holds((what, got, wanted): (&str, String, String)) -> Result<String> {
    if got == wanted {
        Ok(format!("{what}: {got}"))
    } else {
        Err(Failure::new(format!("{what}? {got} is not {wanted}")))
    }
}

/// A server's name and version.
pub(super) async fn version(database: &Database) -> Result<String> {
    let (name, version) = match database.kind() {
        kind @ (Kind::MySql | Kind::Maria) => {
            let mut conn = sql::connect(database.port(), SERVICE, None).await?;
            let name = if kind == Kind::Maria { "MariaDB" } else { "MySQL" };
            (name, sql::one(&mut conn, "SELECT version()").await?)
        }
        Kind::Pg15 | Kind::Pg18 => {
            let client = pg::connect(database.port(), SERVICE, None).await?;
            ("PostgreSQL", pg::one(&client, "SHOW server_version").await?)
        }
    };
    let version = version.unwrap_or_default();
    Ok(format!("{name} {}", version.split(['-', ' ']).next().unwrap_or_default()))
}
