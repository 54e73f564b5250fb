//! What `cargo demo` shows, scene by scene. The shop's programs are in `programs`, its tables in `shop`, how things are
//! printed in `stage`, its servers in `stalls`.

mod front;
pub mod programs;
mod shop;
mod stage;
mod stalls;

use crate::api::atone;
use crate::servers::binaries::{Profile, binaries};
use crate::servers::database::APP;
use crate::{Context, Failure, Result, wait};
use front::{Front, Order};
use shop::Shop;
use stalls::Stalls;

/// Runs all of it; with `keep`, leaves the servers running until Ctrl-C.
pub async fn run(keep: bool) -> Result<()> {
    stage::title("Atone: one transaction over three databases, through a proxy");
    let stalls = step("starting the servers", start_servers().await)?;
    let shop = step("making the shop's tables", Shop::open(&stalls).await)?;
    step("the order that goes well", goes_well(&stalls, &shop).await)?;
    step("the order that one service refuses", is_refused(&stalls, &shop).await)?;
    step("the order whose client dies", client_dies(&stalls, &shop).await)?;
    step("the second order that goes well", goes_well_again(&stalls, &shop).await)?;
    step("checking the books", check_books(&stalls, &shop).await)?;
    if keep {
        stay(&stalls).await?;
    }
    Ok(())
}

fn step<T>(name: &str, result: Result<T>) -> Result<T> {
    result.map_err(|failure| Failure::new(format!("\ncargo demo failed at: {name}\n  {failure}")))
}

async fn start_servers() -> Result<Stalls> {
    stage::scene("The servers");
    let databases = stalls::databases()?;
    for (what, database) in ["orders", "accounts", "stock ledger"].iter().zip(&databases) {
        stage::says(what, &format!("{} on port {}", shop::version(database).await?, database.port()));
    }
    let stalls = Stalls::before(databases)?;
    let (grpc, http) = (stalls.coordinator.grpc(), stalls.coordinator.url());
    stage::says("atone-tc", &format!("the coordinator; proxies on {grpc}, people on {http}"));
    let [orders, accounts, ledger] = stalls.ports();
    let before = format!(
        "port {orders} stands before the orders, {accounts} before the accounts, {ledger} before the stock"
    );
    stage::says("atone-proxy", &before);
    stage::remark(
        "The shop's programs know the proxy's three ports and no others; they use plain drivers of MySQL and PostgreSQL.",
    );
    Ok(stalls)
}

/// Commits, and shows the locks in the middle.
async fn goes_well(stalls: &Stalls, shop: &Shop) -> Result<()> {
    stage::scene("Ada buys two teapots: three databases change together");
    shop.show("before").await?;
    let order = Order { customer: "Ada", item: "teapot", count: 2, timeout_ms: 60_000 };
    let mut front = Front::start(stalls, &order)?;
    let xid = front.until_half_way()?;
    stage::remark(
        "All three services have committed locally; the courier is still to be asked. Until then Atone holds these row locks:",
    );
    command(stalls, &["locks", "list"])?;
    shop.show("half-way").await?;
    front.go_on()?;
    front.must_end("committed")?;
    shop.show("after").await?;
    calm(stalls, &xid, "committed").await
}

/// The last service fails: all is undone, in all three databases.
async fn is_refused(stalls: &Stalls, shop: &Shop) -> Result<()> {
    stage::scene("Charles orders a lamp, and no courier goes there: three databases change back");
    let before = shop.show("before").await?;
    let order = Order { customer: "Charles", item: "lamp", count: 1, timeout_ms: 60_000 };
    let mut front = Front::start(stalls, &order)?;
    let xid = front.until_half_way()?;
    changed(&before, &shop.show("half-way").await?)?;
    front.go_on()?;
    front.must_end("rolled_back")?;
    let after = shop.show("after").await?;
    same(&before, &after)?;
    calm(stalls, &xid, "rolled_back").await?;
    command(stalls, &["tx", "show", &xid])
}

/// The client is killed: the timeout undoes it.
async fn client_dies(stalls: &Stalls, shop: &Shop) -> Result<()> {
    stage::scene("Grace's shop front is killed half-way: the timeout undoes it");
    let before = shop.show("before").await?;
    let order = Order { customer: "Grace", item: "teapot", count: 3, timeout_ms: 4_000 };
    let mut front = Front::start(stalls, &order)?;
    let xid = front.until_half_way()?;
    front.kill9();
    stage::says("shop front", "killed with kill -9; nobody will commit or roll back");
    changed(&before, &shop.show("half-way").await?)?;
    stage::remark("Nobody asks for anything now. The transaction has 4 seconds from its begin:");
    calm(stalls, &xid, "rolled_back").await?;
    stage::says("atone-tc", &format!("{xid} has timed out and is rolled back"));
    let after = shop.show("after").await?;
    same(&before, &after)?;
    Ok(())
}

/// What was undone can be bought by somebody else.
async fn goes_well_again(stalls: &Stalls, shop: &Shop) -> Result<()> {
    stage::scene("Grace tries again, with a lamp");
    let order = Order { customer: "Grace", item: "lamp", count: 1, timeout_ms: 60_000 };
    let mut front = Front::start(stalls, &order)?;
    let xid = front.until_half_way()?;
    front.go_on()?;
    front.must_end("committed")?;
    shop.show("after").await?;
    stage::remark("Numbers that were taken (#2, #3) are not given back, as after any rollback.");
    calm(stalls, &xid, "committed").await
}

async fn check_books(stalls: &Stalls, shop: &Shop) -> Result<()> {
    stage::scene("The books");
    for line in shop.check().await? {
        stage::good(&line);
    }
    command(stalls, &["tx", "list"])?;
    let locks = stalls.api().locks("")?;
    if !locks.is_empty() {
        return Err(Failure::new(format!("there are locks left: {locks:?}")));
    }
    stage::good("no lock is left");
    Ok(())
}

/// Each of the databases must have changed.
fn changed(before: &[String; 3], half_way: &[String; 3]) -> Result<()> {
    match before.iter().zip(half_way).find(|(before, now)| before == now) {
        Some((same, _)) => Err(Failure::new(format!("half-way nothing had changed here:\n{same}"))),
        None => Ok(()),
    }
}

/// Each of the databases must be as it was.
fn same(before: &[String; 3], after: &[String; 3]) -> Result<()> {
    for (before, after) in before.iter().zip(after) {
        if before != after {
            let text = format!("the rows are not as they were; before:\n{before}\nafter:\n{after}");
            return Err(Failure::new(text));
        }
    }
    stage::good("all three databases are as they were, byte for byte");
    Ok(())
}

/// Waits until the coordinator says that a transaction ended so.
async fn calm(stalls: &Stalls, xid: &str, wanted: &str) -> Result<()> {
    let deadline = wait::Deadline::new();
    loop {
        let status = stalls.api().status(xid)?;
        if status == wanted && stalls.api().locks(&format!("xid={xid}"))?.is_empty() {
            return Ok(());
        }
        if deadline.is_over() {
            return Err(Failure::new(format!("{xid} is {status}, and should be {wanted}")));
        }
        tokio::time::sleep(wait::STEP).await;
    }
}

/// Runs a command of the DBA and shows what it prints.
fn command(stalls: &Stalls, args: &[&str]) -> Result<()> {
    let (code, out, err) = atone(&stalls.coordinator.url(), args)?;
    stage::command(&format!("atone {}", args.join(" ")), &out);
    if code == 0 { Ok(()) } else { Err(Failure::new(format!("atone {} failed: {err}", args.join(" ")))) }
}

async fn stay(stalls: &Stalls) -> Result<()> {
    stage::scene("All of it stays up until Ctrl-C");
    let options = format!("--host=127.0.0.1 --user={} --password={} --protocol=TCP", APP.0, APP.1);
    let schema = shop::SCHEMA;
    let [orders, accounts, ledger] = stalls.ports();
    let [mysql, mariadb, psql] =
        [&stalls.orders, &stalls.accounts, &stalls.ledger].map(|database| shell_words(&database.client()));
    let atone = binaries(Profile::Debug)?.atone.display().to_string();
    stage::remark("The databases, through the proxy:");
    stage::line(&format!("{mysql} --get-server-public-key {options} --port={orders} {schema}"));
    stage::line(&format!("{mariadb} {options} --port={accounts} {schema}"));
    stage::line(&format!("{psql} postgres://{}:{}@127.0.0.1:{ledger}/{schema}", APP.0, APP.1));
    stage::remark(
        "Try there: SELECT atone_begin(); UPDATE …; and in the others SELECT atone_join('the xid'); UPDATE …;",
    );
    stage::remark("then SELECT atone_rollback(); or SELECT atone_commit(); in any of them.");
    stage::remark("The coordinator:");
    stage::line(&format!("{atone} --server {} tx list", stalls.coordinator.url()));
    stage::line(&format!("{atone} --server {} locks list", stalls.coordinator.url()));
    tokio::signal::ctrl_c().await.or_fail("waiting for Ctrl-C")?;
    stage::remark("ending the servers");
    Ok(())
}

fn shell_words(command: &std::process::Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
