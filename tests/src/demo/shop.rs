//! The shop's tables in its three databases: made, shown, and checked at the end.

use super::stage;
use super::stalls::Stalls;
use crate::postgres::sql as pg;
use crate::servers::database::{APP, SERVICE};
use crate::servers::postgres::SHOP;
use crate::servers::{Database, Kind};
use crate::{Failure, Result, sql};
use mysql_async::prelude::Queryable;

/// The schema in MySQL and MariaDB; PostgreSQL's database has the same name.
pub(super) const SCHEMA: &str = SHOP;

/// What the order database (MySQL) starts with.
const ORDERS: &[&str] = &[
    "CREATE TABLE item (name VARCHAR(20) PRIMARY KEY, price DECIMAL(10,2) NOT NULL)",
    "INSERT INTO item VALUES ('teapot', 20.00), ('lamp', 45.50)",
    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(20), item VARCHAR(20), pieces INT,
       amount DECIMAL(10,2), at TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3))",
];

/// What the account database (MariaDB) starts with.
const ACCOUNTS: &[&str] = &[
    "CREATE TABLE account (owner VARCHAR(20) PRIMARY KEY, balance DECIMAL(10,2) NOT NULL)",
    "INSERT INTO account VALUES ('Ada', 100), ('Charles', 70), ('Grace', 80), ('the shop', 0)",
];

/// What the stock ledger (PostgreSQL) starts with.
const LEDGER: &str = "
    CREATE TABLE stock (item text PRIMARY KEY, pieces int NOT NULL CHECK (pieces >= 0));
    INSERT INTO stock VALUES ('teapot', 10), ('lamp', 5);
    CREATE TABLE parcel (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, receiver text, item text, pieces int,
        packed timestamptz DEFAULT clock_timestamp())";

/// The shop, seen past the proxy.
pub(super) struct Shop {
    orders: u16,
    accounts: u16,
    ledger: u16,
}

impl Shop {
    /// Makes the tables.
    pub async fn open(stalls: &Stalls) -> Result<Self> {
        let [orders, accounts, ledger] =
            [&stalls.orders, &stalls.accounts, &stalls.ledger].map(Database::port);
        for (port, statements) in [(orders, ORDERS), (accounts, ACCOUNTS)] {
            let mut conn = sql::connect(port, SERVICE, None).await?;
            conn.query_drop(format!("CREATE DATABASE {SCHEMA}")).await?;
            conn.query_drop(format!("USE {SCHEMA}")).await?;
            for statement in statements {
                conn.query_drop(*statement).await?;
            }
        }
        let client = pg::connect(ledger, SERVICE, None).await?;
        client.batch_execute(LEDGER).await?;
        client.batch_execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", APP.0)).await?;
        Ok(Self { orders, accounts, ledger })
    }

    /// One value of the order or the account database.
    async fn ask(&self, port: u16, statement: &str) -> Result<String> {
        let mut conn = sql::connect(port, SERVICE, Some(SCHEMA)).await?;
        Ok(sql::one(&mut conn, statement).await?.unwrap_or_else(|| "none".into()))
    }

    /// One value of the stock ledger.
    async fn ask_ledger(&self, statement: &str) -> Result<String> {
        let client = pg::connect(self.ledger, SERVICE, None).await?;
        Ok(pg::one(&client, statement).await?.unwrap_or_else(|| "none".into()))
    }

    /// Prints every row of all three databases, and gives all that is in each as text.
    pub async fn show(&self, when: &str) -> Result<[String; 3]> {
        let orders = "SELECT GROUP_CONCAT('#', id, ' ', customer, ' ', pieces, ' ', item, ' ', amount \
                      ORDER BY id SEPARATOR ', ') FROM orders";
        let accounts = "SELECT GROUP_CONCAT(owner, ' ', balance ORDER BY owner SEPARATOR ', ') FROM account";
        let stock = "SELECT string_agg(item || ' ' || pieces, ', ' ORDER BY item DESC) FROM stock";
        let parcels = "SELECT string_agg('#' || id || ' ' || receiver || ' ' || pieces || ' ' || item, ', ' \
                       ORDER BY id) FROM parcel";
        let says = |when: &str, who: &str, what: &str| stage::says(&format!("{when:<9}{who}"), what);
        says(when, "MySQL", &format!("orders: {}", self.ask(self.orders, orders).await?));
        says("", "MariaDB", &format!("accounts: {}", self.ask(self.accounts, accounts).await?));
        let (stock, parcels) = (self.ask_ledger(stock).await?, self.ask_ledger(parcels).await?);
        says("", "PostgreSQL", &format!("stock: {stock} · parcels: {parcels}"));
        self.dumps().await
    }

    /// Every byte of every row: more than is printed, times too.
    async fn dumps(&self) -> Result<[String; 3]> {
        let mut orders = sql::connect(self.orders, SERVICE, None).await?;
        let mut accounts = sql::connect(self.accounts, SERVICE, None).await?;
        let ledger = pg::connect(self.ledger, SERVICE, None).await?;
        Ok([
            sql::dump(&mut orders, SCHEMA).await?,
            sql::dump(&mut accounts, SCHEMA).await?,
            pg::dump(&ledger, "public").await?,
        ])
    }

    /// Checks that no money and no goods were made or lost; gives a line for each thing that holds.
    pub async fn check(&self) -> Result<Vec<String>> {
        let money = self.ask(self.accounts, "SELECT SUM(balance) FROM account").await?;
        let till = self.ask(self.accounts, "SELECT balance FROM account WHERE owner = 'the shop'").await?;
        let sold = self.ask(self.orders, "SELECT SUM(amount) FROM orders").await?;
        let goods = "SELECT (SELECT sum(pieces) FROM stock) + (SELECT sum(pieces) FROM parcel)";
        let goods = self.ask_ledger(goods).await?;
        let ordered =
            "SELECT GROUP_CONCAT(customer, ' ', pieces, ' ', item ORDER BY id SEPARATOR ', ') FROM orders";
        let ordered = self.ask(self.orders, ordered).await?;
        let packed =
            "SELECT string_agg(receiver || ' ' || pieces || ' ' || item, ', ' ORDER BY id) FROM parcel";
        let packed = self.ask_ledger(packed).await?;
        let checks = [
            ("all accounts together hold what they held at the start", money, "250.00".to_owned()),
            ("the shop's account (MariaDB) holds the value of all orders (MySQL)", till, sold),
            ("every order (MySQL) has its parcel (PostgreSQL), and no other", packed, ordered),
            ("stock and parcels together are the goods of the start", goods, "15".to_owned()),
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
