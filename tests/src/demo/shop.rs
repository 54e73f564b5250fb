//! The shop's tables in both databases: made, shown, and checked at the end.

use super::stage;
use crate::servers::database::SERVICE;
use crate::servers::{Database, Kind};
use crate::world::World;
use crate::{Failure, Result, sql};
use mysql_async::prelude::Queryable;

/// The schema in both databases.
pub(super) const SCHEMA: &str = "shop";

/// What the order database (MySQL) starts with.
const ORDERS: &[&str] = &[
    "CREATE TABLE stock (item VARCHAR(20) PRIMARY KEY, pieces INT NOT NULL, price DECIMAL(10,2) NOT NULL)",
    "INSERT INTO stock VALUES ('teapot', 10, 20.00), ('lamp', 5, 45.50)",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(20), item VARCHAR(20), pieces INT,
       amount DECIMAL(10,2), at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3))",
];

/// What the account database (MariaDB) starts with.
const ACCOUNTS: &[&str] = &[
    "CREATE TABLE account (owner VARCHAR(20) PRIMARY KEY, balance DECIMAL(10,2) NOT NULL)",
    "INSERT INTO account VALUES ('Ada', 100), ('Charles', 15), ('Grace', 80), ('the shop', 0)",
];

/// The shop, seen past the proxy.
pub(super) struct Shop {
    orders: u16,
    accounts: u16,
}

impl Shop {
    /// Makes the tables.
    pub async fn open(world: &World) -> Result<Self> {
        let shop = Self { orders: world.orders.port(), accounts: world.accounts.port() };
        for (port, statements) in [(shop.orders, ORDERS), (shop.accounts, ACCOUNTS)] {
            let mut conn = sql::connect(port, SERVICE, None).await?;
            conn.query_drop(format!("CREATE DATABASE {SCHEMA}")).await?;
            conn.query_drop(format!("USE {SCHEMA}")).await?;
            for statement in statements {
                conn.query_drop(*statement).await?;
            }
        }
        Ok(shop)
    }

    async fn ask(&self, port: u16, statement: &str) -> Result<String> {
        let mut conn = sql::connect(port, SERVICE, Some(SCHEMA)).await?;
        let answer = sql::one(&mut conn, statement).await?;
        Ok(answer.unwrap_or_else(|| "none".into()))
    }

    /// Prints every row of both databases, and gives them as text.
    pub async fn show(&self, when: &str) -> Result<String> {
        let list =
            |parts: &str, from: &str| format!("SELECT GROUP_CONCAT({parts} SEPARATOR ', ') FROM {from}");
        let stock = self.ask(self.orders, &list("item, ' ', pieces ORDER BY item DESC", "stock")).await?;
        let orders =
            list("'#', id, ' ', customer, ' ', pieces, ' ', item, ' ', amount ORDER BY id", "orders");
        let orders = self.ask(self.orders, &orders).await?;
        let accounts =
            self.ask(self.accounts, &list("owner, ' ', balance ORDER BY owner", "account")).await?;
        stage::says(&format!("{when:<9}MySQL"), &format!("stock: {stock} · orders: {orders}"));
        stage::says(&format!("{:<9}MariaDB", ""), &format!("accounts: {accounts}"));
        Ok(format!("{stock}\n{orders}\n{accounts}"))
    }

    /// Checks that no money and no goods were made or lost; gives a line for each thing that holds.
    pub async fn check(&self) -> Result<Vec<String>> {
        let money = self.ask(self.accounts, "SELECT SUM(balance) FROM account").await?;
        let till = self.ask(self.accounts, "SELECT balance FROM account WHERE owner = 'the shop'").await?;
        let sold = self.ask(self.orders, "SELECT SUM(amount) FROM orders").await?;
        let goods = self
            .ask(self.orders, "SELECT (SELECT SUM(pieces) FROM stock) + (SELECT SUM(pieces) FROM orders)")
            .await?;
        let checks = [
            ("all accounts together hold what they held at the start", money, "195.00".to_owned()),
            ("the shop's account (MariaDB) holds the value of all orders (MySQL)", till, sold),
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
    let mut conn = sql::connect(database.port(), SERVICE, None).await?;
    let version = sql::one(&mut conn, "SELECT version()").await?.unwrap_or_default();
    let name = match database.kind() {
        Kind::Maria => "MariaDB",
        Kind::MySql => "MySQL",
        Kind::Pg15 | Kind::Pg18 => "PostgreSQL",
    };
    Ok(format!("{name} {}", version.split('-').next().unwrap_or_default()))
}
