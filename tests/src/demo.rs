//! What `cargo demo` shows, scene by scene. The shop's programs are in `programs`, its tables in `shop`, how things are
//! printed in `stage`.

mod front;
pub mod programs;
mod shop;
mod stage;

use crate::api::atone;
use crate::servers::binaries::{Profile, binaries};
use crate::servers::database::APP;
use crate::servers::{Coordinator, Durability, Kind, Proxy};
use crate::world::{World, databases};
use crate::{Context, Failure, Result, install, wait};
use front::{Front, Order};
use shop::Shop;

/// Runs all of it; with `keep`, leaves the servers running until Ctrl-C.
pub async fn run(keep: bool) -> Result<()> {
    stage::title("Atone: one transaction over two databases, through a proxy");
    let world = step("starting the servers", start_servers().await)?;
    let shop = step("making the shop's tables", Shop::open(&world).await)?;
    step("the order that goes well", goes_well(&world, &shop).await)?;
    step("the order that one service refuses", is_refused(&world, &shop).await)?;
    step("the order whose client dies", client_dies(&world, &shop).await)?;
    step("the second order that goes well", goes_well_again(&world, &shop).await)?;
    step("checking the books", check_books(&world, &shop).await)?;
    if keep {
        stay(&world).await?;
    }
    Ok(())
}

fn step<T>(name: &str, result: Result<T>) -> Result<T> {
    result.map_err(|failure| Failure::new(format!("\ncargo demo failed at: {name}\n  {failure}")))
}

async fn start_servers() -> Result<World> {
    stage::scene("The servers");
    let (orders, accounts) = databases(Durability::Full)?;
    for (what, database) in [("order database", &orders), ("account database", &accounts)] {
        stage::says(what, &format!("{} on port {}", shop::version(database).await?, database.port()));
    }
    install::step("compiling atone-tc, atone-proxy and atone, if they have changed");
    binaries(Profile::Debug)?;
    let coordinator = Coordinator::start(Profile::Debug)?;
    stage::says(
        "atone-tc",
        &format!("the coordinator; proxies on {}, people on {}", coordinator.grpc(), coordinator.url()),
    );
    let proxy = Proxy::start(Profile::Debug, Some(&coordinator.grpc()), &[&orders, &accounts])?;
    let ports = (proxy.port(Kind::MySql), proxy.port(Kind::Maria));
    stage::says(
        "atone-proxy",
        &format!("port {} stands before the orders, port {} before the accounts", ports.0, ports.1),
    );
    stage::remark(
        "The shop's programs know the proxy's two ports and no other; they use a plain MySQL driver.",
    );
    Ok(World { orders, accounts, coordinator, proxy })
}

/// Commits, and shows the locks in the middle.
async fn goes_well(world: &World, shop: &Shop) -> Result<()> {
    stage::scene("Ada buys two teapots: both databases change");
    shop.show("before").await?;
    let order = Order { customer: "Ada", item: "teapot", count: 2, timeout_ms: 60_000 };
    let mut front = Front::start(world, &order)?;
    let xid = front.until_half_way()?;
    stage::remark(
        "The order service has committed its part already. Atone holds these row locks for the rest:",
    );
    command(world, &["locks", "list"])?;
    shop.show("half-way").await?;
    front.go_on()?;
    front.must_end("committed")?;
    shop.show("after").await?;
    calm(world, &xid, "committed").await
}

/// One service fails: all is undone.
async fn is_refused(world: &World, shop: &Shop) -> Result<()> {
    stage::scene("Charles cannot pay his lamp: both databases change back");
    let before = shop.show("before").await?;
    let order = Order { customer: "Charles", item: "lamp", count: 1, timeout_ms: 60_000 };
    let mut front = Front::start(world, &order)?;
    let xid = front.until_half_way()?;
    shop.show("half-way").await?;
    front.go_on()?;
    front.must_end("rolled_back")?;
    let after = shop.show("after").await?;
    same(&before, &after)?;
    stage::good("every row is as it was");
    calm(world, &xid, "rolled_back").await?;
    command(world, &["tx", "show", &xid])
}

/// The client is killed: the timeout undoes it.
async fn client_dies(world: &World, shop: &Shop) -> Result<()> {
    stage::scene("Grace's shop front is killed half-way: the timeout undoes it");
    let before = shop.show("before").await?;
    let order = Order { customer: "Grace", item: "teapot", count: 3, timeout_ms: 4_000 };
    let mut front = Front::start(world, &order)?;
    let xid = front.until_half_way()?;
    front.kill9();
    stage::says("shop front", "killed with kill -9; nobody will commit or roll back");
    shop.show("half-way").await?;
    stage::remark("Nobody asks for anything now. The transaction has 4 seconds from its begin:");
    calm(world, &xid, "rolled_back").await?;
    stage::says("atone-tc", &format!("{xid} has timed out and is rolled back"));
    let after = shop.show("after").await?;
    same(&before, &after)?;
    stage::good("every row is as it was");
    Ok(())
}

/// What was undone can be bought by somebody else.
async fn goes_well_again(world: &World, shop: &Shop) -> Result<()> {
    stage::scene("Grace tries again, and takes a lamp and pays");
    let order = Order { customer: "Grace", item: "lamp", count: 1, timeout_ms: 60_000 };
    let mut front = Front::start(world, &order)?;
    let xid = front.until_half_way()?;
    front.go_on()?;
    front.must_end("committed")?;
    shop.show("after").await?;
    calm(world, &xid, "committed").await
}

async fn check_books(world: &World, shop: &Shop) -> Result<()> {
    stage::scene("The books");
    for line in shop.check().await? {
        stage::good(&line);
    }
    command(world, &["tx", "list"])?;
    let locks = world.api().locks("")?;
    if !locks.is_empty() {
        return Err(Failure::new(format!("there are locks left: {locks:?}")));
    }
    stage::good("no lock is left");
    Ok(())
}

fn same(before: &str, after: &str) -> Result<()> {
    if before == after {
        return Ok(());
    }
    Err(Failure::new(format!("the rows are not as they were; before:\n{before}\nafter:\n{after}")))
}

/// Waits until the coordinator says that a transaction ended so.
async fn calm(world: &World, xid: &str, wanted: &str) -> Result<()> {
    let deadline = wait::Deadline::new();
    loop {
        let status = world.api().status(xid)?;
        if status == wanted && world.api().locks(&format!("xid={xid}"))?.is_empty() {
            return Ok(());
        }
        if deadline.is_over() {
            return Err(Failure::new(format!("{xid} is {status}, and should be {wanted}")));
        }
        tokio::time::sleep(wait::STEP).await;
    }
}

/// Runs a command of the DBA and shows what it prints.
fn command(world: &World, args: &[&str]) -> Result<()> {
    let (code, out, err) = atone(&world.coordinator.url(), args)?;
    stage::command(&format!("atone {}", args.join(" ")), &out);
    if code == 0 { Ok(()) } else { Err(Failure::new(format!("atone {} failed: {err}", args.join(" ")))) }
}

async fn stay(world: &World) -> Result<()> {
    stage::scene("All of it stays up until Ctrl-C");
    let options = format!("--host=127.0.0.1 --user={} --password={} --protocol=TCP", APP.0, APP.1);
    let schema = shop::SCHEMA;
    let (orders, accounts) = (world.proxy.port(Kind::MySql), world.proxy.port(Kind::Maria));
    let mysql = shell_words(&world.orders.client());
    let mariadb = shell_words(&world.accounts.client());
    let atone = binaries(Profile::Debug)?.atone.display().to_string();
    stage::remark("The databases, through the proxy:");
    stage::line(&format!("{mysql} --get-server-public-key {options} --port={orders} {schema}"));
    stage::line(&format!("{mariadb} {options} --port={accounts} {schema}"));
    stage::remark(
        "Try there: SELECT atone_begin(); UPDATE …; and in the other one SELECT atone_join('the xid'); UPDATE …;",
    );
    stage::remark("then SELECT atone_rollback(); or SELECT atone_commit(); in either.");
    stage::remark("The coordinator:");
    stage::line(&format!("{atone} --server {} tx list", world.coordinator.url()));
    stage::line(&format!("{atone} --server {} locks list", world.coordinator.url()));
    tokio::signal::ctrl_c().await.or_fail("waiting for Ctrl-C")?;
    stage::remark("ending the servers");
    Ok(())
}

fn shell_words(command: &std::process::Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
