//! What is on disk stays readable: recovery of the log's files, and a golden sample of each stored format version.
//!
//! A sample is never edited. A new format gets a new version number and a new sample beside the old one, which must
//! still be read.

use atone_protocol::{BranchId, Lineage, LockKey, Xid};
use atone_tc_server::raft::{Image, LogError, Record, Recovered, Segments};
use atone_tc_server::state::{Command, Entry, Resolution, State};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Vote};
use std::fs;
use std::path::{Path, PathBuf};

const T0: u64 = 1_800_000_000_000;

/// What version 1 could say.
fn command() -> Command {
    let xid = Xid::new(T0, 7);
    let branch = BranchId::new(11);
    let key =
        LockKey { table: "shop.item".into(), index: "PRIMARY".into(), key: vec![1, 2], shown: "42".into() };
    let entries = vec![
        Entry::Begin { xid, name: "order".into(), timeout_ms: 60_000 },
        Entry::Register { xid, branch, resource: "orders".into(), keys: vec![key] },
        Entry::Failed { xid, branch: BranchId::new(12) },
        Entry::Commit { xid, branches: vec![branch] },
        Entry::Rollback { xid, reason: "asked".into() },
        Entry::Done { xid, branches: vec![] },
        Entry::Blocked { xid, branch, reason: "dirty".into() },
        Entry::Retry { xid },
        Entry::Tick,
    ];
    Command { at: T0, entries }
}

fn holder() -> Xid {
    Xid::new(T0, 9)
}

fn key(n: u8) -> LockKey {
    let index = if n < 9 { "PRIMARY" } else { "name" };
    LockKey { table: "shop.item".into(), index: index.into(), key: vec![n], shown: n.to_string() }
}

/// What version 2 can say besides.
fn resolving() -> Command {
    let (xid, branch) = (Xid::new(T0, 8), BranchId::new(13));
    let blocked = |id| Entry::Blocked { xid, branch: BranchId::new(id), reason: "dirty".into() };
    let resolve = |id, how| Entry::Resolve {
        xid,
        branch: BranchId::new(id),
        how,
        by: "anna".into(),
        reason: "counted by hand".into(),
    };
    let register = |id| Entry::Register {
        xid,
        branch: BranchId::new(id),
        resource: format!("orders{id}"),
        keys: vec![],
    };
    let entries = vec![
        Entry::Begin { xid, name: "order".into(), timeout_ms: 60_000 },
        Entry::Register { xid, branch, resource: "orders".into(), keys: vec![] },
        register(14),
        register(15),
        Entry::Rollback { xid, reason: "asked".into() },
        blocked(13),
        blocked(14),
        blocked(15),
        resolve(13, Resolution::Retry),
        resolve(14, Resolution::Restore),
        resolve(15, Resolution::KeepCurrent),
        Entry::Begin { xid: holder(), name: "held".into(), timeout_ms: 60_000 },
        Entry::RegisterShared {
            xid: holder(),
            branch: BranchId::new(21),
            resource: "stock".into(),
            keys: vec![key(1), key(2), key(9)],
            shared: vec![key(3)],
        },
    ];
    Command { at: T0, entries }
}

/// What version 3 can say besides.
fn on_a_database() -> Command {
    let xid = Xid::new(T0, 10);
    let register = |id, lineage| Entry::RegisterOn {
        xid,
        branch: BranchId::new(id),
        resource: format!("orders{id}"),
        lineage: Lineage::new(lineage).unwrap(),
        keys: vec![key(7)],
        shared: vec![key(8)],
    };
    let gone = Entry::Resolve {
        xid,
        branch: BranchId::new(31),
        how: Resolution::Gone,
        by: "anna".into(),
        reason: "sold".into(),
    };
    let entries = vec![
        Entry::Begin { xid, name: "order".into(), timeout_ms: 60_000 },
        register(31, 0xabc),
        register(32, u64::MAX),
        Entry::Rollback { xid, reason: "asked".into() },
        gone,
    ];
    Command { at: T0, entries }
}

fn id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn record_of(index: u64, command: Command) -> Record {
    Record::Append(openraft::Entry { log_id: id(index), payload: EntryPayload::Normal(command) })
}

fn record(index: u64) -> Record {
    record_of(index, command())
}

fn blank(index: u64) -> Record {
    Record::Append(openraft::Entry { log_id: id(index), payload: EntryPayload::Blank })
}

fn append(log: &mut Segments, record: &Record) {
    let index = if let Record::Append(entry) = record { entry.log_id.index } else { 0 };
    log.append(&postcard::to_stdvec(record).unwrap(), index).unwrap();
}

fn only_file(directory: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The sample, or with `ATONE_GOLDEN=write` for a *new* format, what to store as one.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ATONE_GOLDEN").is_some() && !path.exists() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lines: Vec<_> =
            hex(now).as_bytes().chunks(100).map(|l| String::from_utf8_lossy(l).into_owned()).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    unhex(&fs::read_to_string(path).unwrap())
}

/// Puts a sample where a log is, and reads it.
fn read_log(sample: &[u8]) -> (tempfile::TempDir, Recovered) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(format!("{:020}.log", 1)), sample).unwrap();
    let (_, recovered) = Segments::open(directory.path()).unwrap();
    (directory, recovered)
}

fn says(recovered: &Recovered, index: u64, command: &Command) -> bool {
    matches!(&recovered.entries[&index].payload, EntryPayload::Normal(c) if c == command)
}

#[test]
fn log_version_1_is_read_for_ever() {
    let (directory, recovered) = read_log(&golden("log-v1.hex", &[]));
    assert_eq!(recovered.vote, Some(Vote::new_committed(1, 1)));
    assert_eq!(recovered.purged, Some(id(1)));
    assert!(recovered.entries.len() == 1 && says(&recovered, 2, &command()));
    // What is written from now on is in a file of its own, which says that it is of a later version.
    let (mut log, again) = Segments::open(directory.path()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    assert!(says(&again, 2, &command()));
    append(&mut log, &record_of(3, resolving()));
    drop(log);
    let (_, recovered) = Segments::open(directory.path()).unwrap();
    assert!(says(&recovered, 2, &command()) && says(&recovered, 3, &resolving()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn log_version_2_is_read_for_ever() {
    let (directory, recovered) = read_log(&golden("log-v2.hex", &[]));
    assert_eq!((recovered.vote, recovered.purged), (Some(Vote::new_committed(1, 1)), Some(id(1))));
    assert!(recovered.entries.len() == 2);
    assert!(says(&recovered, 2, &command()) && says(&recovered, 3, &resolving()));
    let (mut log, _) = Segments::open(directory.path()).unwrap();
    append(&mut log, &record_of(4, on_a_database()));
    drop(log);
    let (_, recovered) = Segments::open(directory.path()).unwrap();
    assert!(says(&recovered, 3, &resolving()) && says(&recovered, 4, &on_a_database()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn log_version_3_is_read_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _) = Segments::open(directory.path()).unwrap();
    append(&mut log, &Record::Vote(Vote::new_committed(1, 1)));
    append(&mut log, &record(1));
    append(&mut log, &record(2));
    append(&mut log, &Record::Truncate(2));
    append(&mut log, &record(2));
    append(&mut log, &Record::Purged(id(1)));
    append(&mut log, &record_of(3, resolving()));
    append(&mut log, &record_of(4, on_a_database()));
    drop(log);
    // Opening once more cuts the zeros that were written ahead.
    Segments::open(directory.path()).unwrap();
    let file = only_file(directory.path());
    let sample = golden("log-v3.hex", &fs::read(&file).unwrap());
    assert_eq!(hex(&fs::read(&file).unwrap()), hex(&sample), "the format has changed without a new version");
    let (_directory, recovered) = read_log(&sample);
    assert_eq!((recovered.vote, recovered.purged), (Some(Vote::new_committed(1, 1)), Some(id(1))));
    assert!(recovered.entries.len() == 3);
    assert!(says(&recovered, 2, &command()) && says(&recovered, 3, &resolving()));
    assert!(says(&recovered, 4, &on_a_database()));
}

/// The state that these commands make.
fn image(commands: &[Command]) -> Image {
    let mut state = State::default();
    for entry in commands.iter().flat_map(|command| command.entries.clone()) {
        state.apply(T0, entry);
    }
    let mut image = Image { meta: Default::default(), state };
    image.meta.last_log_id = Some(id(9));
    image
}

fn is_read(sample: &[u8], image: &Image) {
    let read = Image::decode(sample).unwrap();
    assert_eq!(read.meta.last_log_id, Some(id(9)));
    assert_eq!(read.state.hash(), image.state.hash(), "the format has changed without a new version");
    assert_eq!(read.state.check(), Ok(()));
}

#[test]
fn snapshot_version_1_is_read_for_ever() {
    is_read(&golden("snapshot-v1.hex", &[]), &image(&[command()]));
}

#[test]
fn snapshot_version_2_is_read_for_ever() {
    let image = image(&[command(), resolving()]);
    let sample = golden("snapshot-v2.hex", &[]);
    is_read(&sample, &image);
    // The table of locks is not stored.
    let read = Image::decode(&sample).unwrap().state;
    assert_eq!(read.locks_of(holder())[2].key.to_lock_key(), key(3));
    assert_eq!(read.locks().len(), image.state.locks().len());
    // Its branches go to any database of their resource's name, as before.
    let branches = read.transaction(holder()).unwrap().branches.values();
    assert_eq!(branches.map(|branch| branch.lineage).collect::<Vec<_>>(), [None]);
}

#[test]
fn snapshot_version_3_is_read_for_ever() {
    let image = image(&[command(), resolving(), on_a_database()]);
    let bytes = image.encode().unwrap();
    let sample = golden("snapshot-v3.hex", &bytes);
    assert_eq!(hex(&bytes), hex(&sample), "the format has changed without a new version");
    is_read(&sample, &image);
    let read = Image::decode(&sample).unwrap().state;
    assert_eq!(read.locks().len(), image.state.locks().len());
    let branches = &read.transaction(Xid::new(T0, 10)).unwrap().branches;
    let lineages: Vec<_> = branches.values().map(|branch| branch.lineage.unwrap().as_u64()).collect();
    assert_eq!(lineages, [0xabc, u64::MAX]);
}

#[test]
fn any_truncation_of_the_file_recovers_a_prefix_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _) = Segments::open(directory.path()).unwrap();
    (1..=4).for_each(|index| append(&mut log, &blank(index)));
    drop(log);
    Segments::open(directory.path()).unwrap();
    let file = only_file(directory.path());
    let whole = fs::read(&file).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in 0..=whole.len() {
        let _ = fs::remove_file(&file);
        fs::write(&file, &whole[..cut]).unwrap();
        let (mut log, recovered) = Segments::open(directory.path()).unwrap();
        let count = recovered.entries.len() as u64;
        assert!(recovered.entries.keys().copied().eq(1..=count));
        seen.insert(count);
        append(&mut log, &blank(count + 1));
        drop(log);
        let (_, recovered) = Segments::open(directory.path()).unwrap();
        assert_eq!(recovered.entries.len() as u64, count + 1);
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn damage_in_the_middle_stops_the_node_and_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _) = Segments::open(directory.path()).unwrap();
    (1..=2).for_each(|index| append(&mut log, &record(index)));
    drop(log);
    let file = only_file(directory.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[60] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = Segments::open(directory.path()).unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }) && error.to_string().contains(".log"), "{error}");
}

#[test]
fn a_log_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(Segments::open(directory.path()).unwrap());
    let file = only_file(directory.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] = 9;
    let crc = crc32fast::hash(&bytes[..16]).to_le_bytes();
    bytes[16..20].copy_from_slice(&crc);
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(Segments::open(directory.path()), Err(LogError::Version { version: 9, .. })));
}

#[test]
fn segments_before_the_purge_point_go_and_vote_and_purge_point_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _) = Segments::open(directory.path()).unwrap();
    let vote = Vote::new_committed(3, 1);
    append(&mut log, &Record::Vote(vote));
    log.note_vote(vote);
    // 3 segments of 64 MiB.
    let reason = "x".repeat(30 << 20);
    let entries = vec![Entry::Rollback { xid: Xid::new(T0, 1), reason }];
    for index in 1..=7 {
        let payload = EntryPayload::Normal(Command { at: T0, entries: entries.clone() });
        append(&mut log, &Record::Append(openraft::Entry { log_id: id(index), payload }));
    }
    assert!(fs::read_dir(directory.path()).unwrap().count() == 3);
    append(&mut log, &Record::Purged(id(6)));
    log.purge(id(6)).unwrap();
    assert!(fs::read_dir(directory.path()).unwrap().count() == 1);
    drop(log);
    let (_, recovered) = Segments::open(directory.path()).unwrap();
    assert_eq!((recovered.vote, recovered.purged), (Some(vote), Some(id(6))));
    assert!(recovered.entries.keys().copied().eq([7]));
}
