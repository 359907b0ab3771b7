//! How long a store takes to open after its process was killed in the middle of a commit.
//!
//! A child process commits groups to the store and says so after each; it is killed after a while,
//! a random moment after an acknowledgement. The store is then opened in this process and the
//! last acknowledged group is looked for. Beside it: the same store, opened again after an orderly
//! end. `cold` gives the file's pages back to the kernel before each opening.

use core::fmt::Display;
use core::time::Duration;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};

use engine_types::Rng;
use meta_kv::engine::Batch;
use meta_kv::engine::file::FileDevice;
use meta_kv::engine::redb::{RedbEngine, RedbOptions};
use meta_kv::{EngineSnapshot, KvEngine, Mutation};
use rustix::fs::Advice;

use super::keys::{KEY_BYTES, Task, VALUE_BYTES, Where, key};
use super::place::{Store, path_of};
use super::work::text;
use crate::cpu::{CpuReading, CpuUsed, monotonic_nanos};
use crate::stats::median;
use crate::suite::{Event, Figure, KvTold, Plan, Reopening, Row};

/// Seconds within which a store is open again.
const SECONDS_GOAL: f64 = 5.0;
/// Kills per row.
const ROUNDS: usize = 3;
/// How long a child commits before it is killed.
const COMMIT_TIME: Duration = Duration::from_millis(700);
/// Groups that a child commits at least.
const GROUPS_MIN: u64 = 3;
/// Longest time from an acknowledgement to the kill: a commit or two.
const KILL_DELAY_NANOS: u64 = 8_000_000;
/// Transactions in a child's groups.
const GROUP: u64 = 64;

/// What a child says, before the number of the group.
const ACKNOWLEDGED: &str = "acknowledged ";
/// Where a child counts its groups: behind all other keys.
const COUNT_KEY: [u8; KEY_BYTES] = [0xfe; KEY_BYTES];

/// Starts a child that commits to the store at a path with so many keys ([`victim`]).
pub(super) type Start = fn(&Path, u64) -> Command;

/// What is in memory when the store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// What the commits left there.
    Warm,
    /// Nothing.
    Cold,
}

impl Cache {
    pub(super) const ALL: [Self; 2] = [Self::Warm, Self::Cold];

    pub(super) fn row(self) -> String {
        let name = match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        };
        format!("reopen/{name}")
    }
}

/// This program as the child.
pub(super) fn child(path: &Path, keys: u64) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| "bench".into());
    let mut command = Command::new(program);
    command.arg("--kv-victim").arg(path).args(["--reopen-keys", &keys.to_string()]);
    command
}

/// Commits to the store at `path` until killed; gives the reason when it cannot go on.
pub(crate) fn victim(path: &Path, keys: u64) -> String {
    match commit_for_ever(path, keys) {
        Ok(never) => match never {},
        Err(reason) => reason,
    }
}

fn commit_for_ever(path: &Path, keys: u64) -> Result<core::convert::Infallible, String> {
    let engine = open(path)?;
    let seed = monotonic_nanos();
    let mut tasks: Vec<Task> =
        (0..GROUP).map(|number| Task::new(keys, number, GROUP, seed ^ number)).collect();
    let mut count = counted(&engine)?;
    loop {
        count += 1;
        let sets = tasks.iter_mut().flat_map(|task| task.next_sets(Where::Spread));
        let counter =
            Mutation::Set { key: COUNT_KEY.to_vec(), value: count.to_le_bytes().to_vec() };
        let mutations = sets.chain([counter]).collect();
        let version = engine.version() + 1;
        engine.apply(&Batch { version, mutations }).map_err(text)?;
        // Fails when the parent is gone: nobody would kill this process then.
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED}{count}").and_then(|()| out.flush()).map_err(text)?;
    }
}

fn open(path: &Path) -> Result<RedbEngine, String> {
    let device = FileDevice::open(path).map_err(text)?;
    RedbEngine::open_on(Arc::new(device), RedbOptions::default()).map_err(text)
}

/// Groups of children in the store.
fn counted(engine: &RedbEngine) -> Result<u64, String> {
    let found = engine.snapshot().and_then(|snapshot| snapshot.get(&COUNT_KEY)).map_err(text)?;
    let Some(bytes) = found else { return Ok(0) };
    let bytes = bytes.try_into().map_err(|_| "the count of groups is no number".to_owned())?;
    Ok(u64::from_le_bytes(bytes))
}

/// Measures `rows` on a store of `plan`.
pub(super) fn run(
    rows: &[Cache],
    plan: &Plan,
    start: Start,
    events: &mpsc::Sender<Event>,
) -> Result<(), String> {
    let keys = plan.keys.reopened;
    let closed = "nobody listens any more";
    let send = |event| events.send(event).map_err(|_| closed.to_owned());
    send(Event::Preparing(format!("writing {keys} keys")))?;
    let store = Store::<RedbEngine>::filled(&plan.storage.dir, keys)?;
    let Store { engine, held, .. } = store;
    drop(engine);
    let file = held.file().ok_or("redb has a file")?;
    for &cache in rows {
        let name = cache.row();
        send(Event::Starting(name.clone()))?;
        send(match measure(cache, file, keys, start) {
            Ok(row) => Event::Measured(row),
            Err(reason) => Event::Failed { name, reason },
        })?;
    }
    Ok(())
}

fn measure(cache: Cache, file: &File, keys: u64, start: Start) -> Result<Row, String> {
    let path = path_of(file);
    let (mut killed, mut orderly) = (Vec::new(), Vec::new());
    let mut acknowledged = 0;
    let mut random = Rng::new(monotonic_nanos());
    for _ in 0..ROUNDS {
        let (before, last) = kill_in_commit(start(&path, keys), &mut random)?;
        acknowledged += last + 1 - before;
        let (opening, engine) = timed(cache, file, &path, keys, &mut random)?;
        let found = counted(&engine)?;
        if found < last || last + 1 < found {
            return Err(format!("group {last} was acknowledged, {found} is there"));
        }
        killed.push(opening);
        drop(engine);
        orderly.push(timed(cache, file, &path, keys, &mut random)?.0);
    }
    let (seconds, orderly_seconds) = (middle(&killed), middle(&orderly));
    let pairs = || killed.iter().zip(&orderly);
    let ratios = || pairs().map(|(killed, orderly)| orderly.seconds / killed.seconds);
    let reopening = Reopening {
        seconds,
        seconds_max: killed.iter().map(|opening| opening.seconds).fold(0.0, f64::max),
        orderly_seconds,
        file_bytes: file.metadata().map_err(text)?.len(),
        acknowledged,
    };
    Ok(Row {
        name: cache.row(),
        unit: "key/s",
        subject: figure(keys, &killed),
        limit: figure(keys, &orderly),
        ratio: median(ratios()),
        ratio_min: ratios().fold(f64::INFINITY, f64::min),
        ratio_max: ratios().fold(0.0, f64::max),
        goal: None,
        pairs: ROUNDS,
        slice_seconds: seconds,
        device: None,
        opening: None,
        storage: None,
        meta: None,
        kv: Some(Box::new(KvTold {
            value_goal: Some(keys as f64 / SECONDS_GOAL),
            commits: None,
            reopening: Some(reopening),
        })),
    })
}

/// What one opening took.
#[derive(Clone, Copy, Debug)]
struct Opening {
    seconds: f64,
    cpu: CpuUsed,
}

fn middle(openings: &[Opening]) -> f64 {
    median(openings.iter().map(|opening| opening.seconds))
}

fn figure(keys: u64, openings: &[Opening]) -> Figure {
    let cpu_us = |of: fn(&CpuUsed) -> u64| {
        median(openings.iter().map(|opening| of(&opening.cpu) as f64 / 1e3 / keys as f64))
    };
    Figure {
        value: keys as f64 / middle(openings),
        client_cpu_us_per_op: cpu_us(|cpu| cpu.client_nanos),
        server_cpu_us_per_op: cpu_us(|cpu| cpu.server_nanos),
        latency_us: None,
    }
}

/// Opens the store and reads a random value.
fn timed(
    cache: Cache,
    file: &File,
    path: &Path,
    keys: u64,
    random: &mut Rng,
) -> Result<(Opening, RedbEngine), String> {
    if cache == Cache::Cold {
        // Pages that are not on the disk yet stay where they are.
        file.sync_all().map_err(text)?;
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed).map_err(text)?;
    }
    let wanted = key(random.range(0..=keys - 1));
    let (began, cpu) = (monotonic_nanos(), CpuReading::now());
    let engine = open(path)?;
    let found = engine.snapshot().and_then(|snapshot| snapshot.get(&wanted)).map_err(text)?;
    let seconds = Duration::from_nanos(monotonic_nanos() - began).as_secs_f64();
    let cpu = CpuReading::now().since(cpu);
    if found.is_none_or(|value| value.len() != VALUE_BYTES) {
        return Err("a value is missing".to_owned());
    }
    Ok((Opening { seconds, cpu }, engine))
}

/// Lets a child commit and kills it; the first and last groups that it acknowledged.
fn kill_in_commit(mut command: Command, random: &mut Rng) -> Result<(u64, u64), String> {
    let failed = |error: &dyn Display| format!("the child that commits: {error}");
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Killed(spawned.map_err(|error| failed(&error))?);
    let out = child.0.stdout.take().ok_or("a child without output")?;
    let mut lines = BufReader::new(out);
    let first = next_group(&mut lines)?.ok_or_else(|| failed(&"it ended before it committed"))?;
    let (mut last, until) = (first, monotonic_nanos() + nanos(COMMIT_TIME));
    while monotonic_nanos() < until || last < first + GROUPS_MIN {
        last = next_group(&mut lines)?.ok_or_else(|| failed(&"it ended by itself"))?;
    }
    pause(Duration::from_nanos(random.range(0..=KILL_DELAY_NANOS)));
    child.0.kill().map_err(|error| failed(&error))?;
    child.0.wait().map_err(|error| failed(&error))?;
    while let Some(group) = next_group(&mut lines)? {
        last = group;
    }
    Ok((first, last))
}

/// A child that does not outlive its measurement.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next group that the child acknowledged; nothing at its end. A last line may be cut off.
fn next_group(lines: &mut BufReader<ChildStdout>) -> Result<Option<u64>, String> {
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).map_err(text)? == 0 {
            return Ok(None);
        }
        let whole = line.strip_suffix('\n').and_then(|line| line.strip_prefix(ACKNOWLEDGED));
        if let Some(group) = whole.and_then(|number| number.parse().ok()) {
            return Ok(Some(group));
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("less than a second")
}

fn pause(time: Duration) {
    let at = monotonic_nanos() + nanos(time);
    while monotonic_nanos() < at {
        core::hint::spin_loop();
    }
}
