//! Nobody waits for nothing, and nobody waits in a circle.

use super::super::{errands::To, proxies::SessionId, turn::Table};
use super::*;
use atone_protocol::{Bound, Errand, Stuck};
use futures_util::FutureExt;
use proptest::prelude::*;

fn lock(n: u8) -> Lock {
    let key = LockKey { table: "t".into(), index: "PRIMARY".into(), key: vec![n], shown: n.to_string() };
    Lock { resource: "orders".into(), key }
}

fn xid(n: u64) -> Xid {
    Xid::new(1, u128::from(n))
}

#[derive(Debug, Clone)]
enum Act {
    /// Who, which keys, and which of them shared.
    Ask(u64, Vec<(u8, bool)>),
    GiveUp(usize),
    Commit(u64),
    RollBack(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..5u64, prop::collection::btree_map(0..4u8, any::<bool>(), 1..3))
            .prop_map(|(x, keys)| Act::Ask(x, keys.into_iter().collect())),
        1 => (0..8usize).prop_map(Act::GiveUp),
        2 => (0..5u64).prop_map(Act::Commit),
        1 => (0..5u64).prop_map(Act::RollBack),
    ]
}

/// Who holds each lock, and whether shared.
#[derive(Default)]
struct Holders(BTreeMap<Lock, (BTreeSet<Xid>, bool)>);

impl Table for Holders {
    fn others(&self, want: &Want, xid: Option<Xid>) -> Vec<(Xid, TxStatus)> {
        let Some((holders, shared)) = self.0.get(&want.lock) else { return Vec::new() };
        let others = holders.iter().filter(|who| Some(**who) != xid && !(*shared && want.shared));
        others.map(|who| (*who, TxStatus::Active)).collect()
    }

    fn holds(&self, lock: &Lock, xid: Xid) -> bool {
        self.0.get(lock).is_some_and(|(holders, _)| holders.contains(&xid))
    }
}

impl Holders {
    fn take(&mut self, xid: Xid, wants: &[Want]) {
        for Want { lock, shared } in wants {
            let (holders, is_shared) = self.0.entry(lock.clone()).or_insert((BTreeSet::new(), true));
            holders.insert(xid);
            *is_shared &= shared;
        }
    }
}

/// A lock table and askers, as the state and the request's futures are.
#[derive(Default)]
struct World {
    waiters: Waiters,
    held: Holders,
    waiting: Vec<(Xid, Vec<Want>, Place)>,
}

impl World {
    fn ask(&mut self, x: u64, keys: &[(u8, bool)]) {
        let want = |(n, shared): &(u8, bool)| Want { lock: lock(*n), shared: *shared };
        let (xid, wants) = (xid(x), keys.iter().map(want).collect::<Vec<_>>());
        let free = !self.waiters.must_queue(xid, &wants, &self.held)
            && wants.iter().all(|want| self.held.others(want, Some(xid)).is_empty());
        if free {
            self.held.take(xid, &wants);
            self.waiters.granted(xid, &self.held);
        } else {
            let holds = self.held.0.values().any(|(holders, _)| holders.contains(&xid));
            if let Ok(place) = self.waiters.join(xid, holds, wants.clone(), None, &self.held) {
                self.waiting.push((xid, wants, place));
            }
        }
        self.serve();
    }

    fn leave(&mut self, at: usize) {
        let (_, _, place) = self.waiting.remove(at);
        self.waiters.leave(place.id, &self.held);
    }

    /// Everybody who is called does what the request's future does, until nobody is.
    fn serve(&mut self) {
        while let Some((at, verdict)) = self
            .waiting
            .iter()
            .enumerate()
            .find_map(|(at, (_, _, place))| Some((at, place.turn.called().now_or_never()?)))
        {
            let (xid, wants, _) = self.waiting[at].clone();
            let granted = wants.iter().all(|want| self.held.others(want, Some(xid)).is_empty());
            if verdict.is_none() && granted {
                self.held.take(xid, &wants);
            }
            if verdict.is_some() || granted {
                self.leave(at);
            }
        }
    }

    fn decide(&mut self, x: u64, rolls_back: bool) {
        let xid = xid(x);
        let all = self.held.0.iter().filter(|(_, (holders, _))| holders.contains(&xid));
        let freed: Vec<_> = all.map(|(lock, _)| lock.clone()).collect();
        let own = Refusal::Finished { status: TxStatus::Committed, reason: String::new() };
        self.waiters.decided(xid, &own, if rolls_back { &freed } else { &[] });
        self.held.0.retain(|_, (holders, _)| {
            holders.remove(&xid);
            !holders.is_empty()
        });
        for lock in freed {
            self.waiters.call_next(&lock, &self.held);
        }
        self.serve();
    }
}

#[test]
fn a_second_request_of_the_new_holder_goes_along() {
    let mut world = World::default();
    for (x, keys) in [(1, &[0][..]), (2, &[1]), (0, &[0]), (1, &[0, 1]), (3, &[0, 1]), (0, &[0])] {
        world.ask(x, &keys.iter().map(|n| (*n, false)).collect::<Vec<_>>());
    }
    world.decide(1, false);
    assert!(world.waiting.iter().all(|(who, _, _)| *who != xid(0)));
}

#[test]
fn sharers_go_together_and_nobody_overtakes_one_who_wants_it_alone() {
    let mut world = World::default();
    world.ask(0, &[(0, true)]);
    world.ask(1, &[(0, true)]);
    assert!(world.waiting.is_empty());
    world.ask(2, &[(0, false)]);
    world.ask(3, &[(0, true)]);
    world.ask(4, &[(0, true)]);
    let waiting = |world: &World| world.waiting.iter().map(|(who, _, _)| *who).collect::<Vec<_>>();
    assert_eq!(waiting(&world), [xid(2), xid(3), xid(4)]);
    // One who shares it already need not stand behind them.
    world.ask(1, &[(0, true)]);
    world.decide(0, false);
    assert_eq!(waiting(&world), [xid(2), xid(3), xid(4)]);
    world.decide(1, false);
    assert_eq!(waiting(&world), [xid(3), xid(4)]);
    world.decide(2, false);
    assert_eq!(waiting(&world), []);
}

#[test]
fn of_two_who_share_it_and_want_it_alone_the_younger_yields() {
    let mut world = World::default();
    world.ask(0, &[(0, true)]);
    world.ask(1, &[(0, true)]);
    world.ask(1, &[(0, false)]);
    world.ask(0, &[(0, false)]);
    let waiting: Vec<_> = world.waiting.iter().map(|(who, _, _)| *who).collect();
    assert_eq!(waiting, [xid(0)]);
    world.decide(1, true);
    assert!(world.waiting.is_empty());
}

fn connection(number: u64) -> Connection {
    Connection::new("orders", number).unwrap()
}

fn stuck(session: u64, xid: Option<Xid>, by: &[u64]) -> Stuck {
    Stuck { resource: "orders".into(), session, xid, by: by.to_vec() }
}

fn verdict(turn: &Turn) -> Option<Vec<String>> {
    match turn.called().now_or_never()?? {
        Refusal::Conflict { deadlock, .. } => Some(deadlock),
        other => panic!("{other:?}"),
    }
}

/// Transaction 1 holds key 1; a statement of it waits in the database for connection 20, whose local transaction waits here
/// for key 1.
#[test]
fn a_circle_through_a_database_is_broken_here() {
    for told_first in [true, false] {
        for global in [true, false] {
            let mut world = World::default();
            world.ask(1, &[(1, false)]);
            let want = Want { lock: lock(1), shared: false };
            let proxy = SessionId(7);
            let turn = Arc::new(Turn::default());
            let mut given = Arc::clone(&turn);
            let tell = |world: &mut World| {
                // 10 waits for 15, which waits for 20.
                assert!(world.waiters.graph.tell(proxy, stuck(15, None, &[20])).is_some());
                let who = world.waiters.graph.tell(proxy, stuck(10, Some(xid(1)), &[15, 16])).unwrap();
                world.waiters.break_circles_of(&who, &world.held);
            };
            if told_first {
                tell(&mut world);
            }
            if global {
                let joined =
                    world.waiters.join(xid(2), true, vec![want.clone()], Some(connection(20)), &world.held);
                match joined {
                    Ok(place) => given = place.turn,
                    Err(refusal) => turn.fail(*refusal),
                }
            } else {
                world.waiters.graph.local_waits(connection(20), want.clone(), Arc::clone(&turn));
                if told_first {
                    world.waiters.break_circles_of(&Who::Local(connection(20)), &world.held);
                }
            }
            if !told_first {
                assert!(verdict(&given).is_none());
                tell(&mut world);
            }
            let circle = verdict(&given).unwrap();
            let who = if global { xid(2).to_string() } else { "connection 20 of orders".to_owned() };
            assert_eq!(circle, [who, xid(1).to_string(), "connection 15 of orders".to_owned()]);
        }
    }
}

/// Of transaction 2, connection 20 waits here, or has just been called; what was told of it is stale, and what was told of
/// its connection 21 is not. Transaction 3 waits in the database for connection 20.
#[test]
fn who_was_called_yields_to_nobody() {
    for (number, called) in [(20, true), (20, false), (21, true)] {
        let mut world = World::default();
        world.ask(1, &[(1, false)]);
        let want = Want { lock: lock(1), shared: false };
        let place = world.waiters.join(xid(2), true, vec![want], Some(connection(20)), &world.held).unwrap();
        if called {
            world.held = Holders::default();
            world.waiters.call_next(&lock(1), &world.held);
        }
        for told in [stuck(30, Some(xid(3)), &[20]), stuck(number, Some(xid(2)), &[30])] {
            let who = world.waiters.graph.tell(SessionId(7), told).unwrap();
            world.waiters.break_circles_of(&who, &world.held);
        }
        assert_eq!(place.turn.called().now_or_never().is_some(), called);
        assert!(verdict(&place.turn).is_none() && world.waiters.by_id.contains_key(&place.id));
    }
}

#[test]
fn what_a_proxy_told_ends_with_its_statement_and_with_the_proxy() {
    let mut world = World::default();
    world.ask(1, &[(1, false)]);
    let proxy = SessionId(7);
    world.waiters.graph.tell(proxy, stuck(10, Some(xid(1)), &[20]));
    assert_eq!(world.waiters.graph.tell(proxy, stuck(10, Some(xid(1)), &[])), None);
    let want = Want { lock: lock(1), shared: false };
    let place = world.waiters.join(xid(2), true, vec![want], Some(connection(20)), &world.held).unwrap();
    world.waiters.graph.tell(proxy, stuck(10, Some(xid(1)), &[21]));
    world.waiters.graph.forget(proxy);
    assert!(!world.waiters.graph.somebody_is_stuck());
    assert!(verdict(&place.turn).is_none());
}

fn told_to_yield(world: &mut World) -> Vec<(u64, Vec<u64>, Vec<String>)> {
    let sent = std::mem::take(&mut world.waiters.graph.errands.to_send).into_iter();
    sent.filter_map(|(to, errand)| match (to, errand) {
        (To::Proxy(SessionId(proxy)), Errand::Yield(told)) => Some((proxy, told.chain, told.circle)),
        (To::All, Errand::Whose { .. }) => None,
        other => panic!("{other:?}"),
    })
    .collect()
}

fn tell(world: &mut World, proxy: u64, resource: &str, session: u64, xid: Option<Xid>, by: &[u64]) {
    let stuck = Stuck { resource: resource.into(), session, xid, by: by.to_vec() };
    if let Some(who) = world.waiters.graph.tell(SessionId(proxy), stuck) {
        world.waiters.break_circles_of(&who, &world.held);
    }
}

fn bind(world: &mut World, proxy: u64, resource: &str, session: u64, xid: Option<Xid>) {
    let bound = Bound { resource: resource.into(), session, xid };
    if let Some(who) = world.waiters.graph.bound(SessionId(proxy), bound) {
        world.waiters.break_circles_of(&who, &world.held);
    }
}

/// Connections 10 and 11 are of transaction 1, 20 and 21 of transaction 2; in orders 10 waits for 20 by way of 15, and in
/// accounts 21 for 11. Nobody waits here.
#[test]
fn of_a_circle_in_two_databases_the_youngest_statement_is_interrupted() {
    let steps: [fn(&mut World); 4] = [
        |world| {
            tell(world, 7, "orders", 15, None, &[20]);
            tell(world, 7, "orders", 10, Some(xid(1)), &[15]);
        },
        |world| tell(world, 8, "accounts", 21, Some(xid(2)), &[11]),
        |world| bind(world, 8, "orders", 20, Some(xid(2))),
        |world| bind(world, 7, "accounts", 11, Some(xid(1))),
    ];
    for order in [[0, 1, 2, 3], [1, 0, 3, 2], [0, 2, 1, 3], [1, 3, 0, 2]] {
        let mut world = World::default();
        for step in &order[..3] {
            steps[*step](&mut world);
            assert_eq!(told_to_yield(&mut world), [], "{order:?}");
        }
        steps[order[3]](&mut world);
        let circle = [xid(2).to_string(), xid(1).to_string(), "connection 15 of orders".to_owned()];
        assert_eq!(told_to_yield(&mut world), [(8, vec![21, 11], circle.to_vec())], "{order:?}");
        // It is under way: nobody else yields for it, until its proxy says that it still waits.
        steps[0](&mut world);
        assert_eq!(told_to_yield(&mut world), []);
        steps[1](&mut world);
        assert_eq!(told_to_yield(&mut world).len(), 1);
    }
    // If the elder is asked about, the chain is told as far as its own database goes.
    let mut world = World::default();
    tell(&mut world, 7, "orders", 15, None, &[20]);
    tell(&mut world, 7, "orders", 10, Some(xid(3)), &[15]);
    bind(&mut world, 8, "orders", 20, Some(xid(2)));
    tell(&mut world, 8, "accounts", 21, Some(xid(2)), &[11]);
    bind(&mut world, 7, "accounts", 11, Some(xid(3)));
    assert_eq!(told_to_yield(&mut world)[0].1, [10, 15, 20]);
}

#[test]
fn what_is_not_known_any_more_interrupts_nobody() {
    let leaves: [fn(&mut World); 5] = [
        |world| bind(world, 8, "orders", 20, None),
        |world| tell(world, 7, "orders", 10, Some(xid(1)), &[]),
        |world| tell(world, 7, "orders", 10, Some(xid(1)), &[22]),
        |world| world.waiters.graph.forget(SessionId(7)),
        |world| world.waiters.graph.forget(SessionId(8)),
    ];
    for leave in leaves {
        let mut world = World::default();
        tell(&mut world, 7, "orders", 10, Some(xid(1)), &[20]);
        bind(&mut world, 8, "orders", 20, Some(xid(2)));
        // Another proxy, of which it never was.
        bind(&mut world, 9, "orders", 20, None);
        leave(&mut world);
        tell(&mut world, 9, "accounts", 21, Some(xid(2)), &[11]);
        bind(&mut world, 6, "accounts", 11, Some(xid(1)));
        assert_eq!(told_to_yield(&mut world), []);
    }
    // Nobody waits for it: it is not remembered.
    let mut world = World::default();
    bind(&mut world, 8, "orders", 20, Some(xid(2)));
    tell(&mut world, 7, "orders", 10, Some(xid(1)), &[20]);
    tell(&mut world, 8, "accounts", 21, Some(xid(2)), &[11]);
    bind(&mut world, 7, "accounts", 11, Some(xid(1)));
    assert_eq!(told_to_yield(&mut world), []);
}

/// Connections 20 and 21 of transaction 2 wait for different ones: who waits for 20 does not wait for what 21 waits for.
#[test]
fn one_session_of_a_transaction_does_not_wait_for_what_another_waits_for() {
    for (by_of_20, is_circle) in [(30, false), (10, true)] {
        let mut world = World::default();
        tell(&mut world, 7, "orders", 10, Some(xid(1)), &[20]);
        tell(&mut world, 7, "orders", 20, Some(xid(2)), &[by_of_20]);
        tell(&mut world, 7, "accounts", 21, Some(xid(2)), &[11]);
        bind(&mut world, 7, "accounts", 11, Some(xid(1)));
        assert_eq!(!told_to_yield(&mut world).is_empty(), is_circle);
    }
    // The one that is waited for was called here: it will go on.
    let mut world = World::default();
    world.ask(5, &[(1, false)]);
    let want = Want { lock: lock(1), shared: false };
    let place = world.waiters.join(xid(2), true, vec![want], Some(connection(20)), &world.held).unwrap();
    world.held = Holders::default();
    world.waiters.call_next(&lock(1), &world.held);
    tell(&mut world, 7, "orders", 10, Some(xid(1)), &[20]);
    tell(&mut world, 7, "accounts", 21, Some(xid(2)), &[11]);
    bind(&mut world, 7, "accounts", 11, Some(xid(1)));
    assert_eq!(told_to_yield(&mut world), []);
    assert!(verdict(&place.turn).is_none());
}

proptest! {
    #[test]
    fn nobody_waits_for_nothing_and_nobody_waits_in_a_circle(acts in prop::collection::vec(act(), 0..60)) {
        let mut world = World::default();
        for act in acts {
            match &act {
                Act::Ask(x, keys) => world.ask(*x, keys),
                Act::GiveUp(at) if *at < world.waiting.len() => {
                    world.leave(*at);
                    world.serve();
                }
                Act::GiveUp(_) => {}
                Act::Commit(x) => world.decide(*x, false),
                Act::RollBack(x) => world.decide(*x, true),
            }
            prop_assert_eq!(world.waiters.len(), world.waiting.len());
            for (who, wants, place) in &world.waiting {
                prop_assert!(
                    world.waiters.obstacle(*who, wants, place.id, &world.held).is_some(),
                    "{who} waits for nothing after {act:?}"
                );
                let circle = world.waiters.yielding(&Who::Global(*who), &world.held);
                prop_assert_eq!(circle, None, "after {:?}", act);
            }
        }
        // When all are decided, nobody is left.
        (0..5).for_each(|x| world.decide(x, false));
        prop_assert_eq!(world.waiters.len(), 0);
    }
}
