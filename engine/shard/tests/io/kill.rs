//! A process that is killed while it writes.
//!
//! The child is this test binary again. It changes chunks in turns, one request of each in flight:
//! small overwrites, appends, large writes, truncations, removals, commits and aborts. It says on
//! its standard output what it begins, what was acknowledged, and what was decided durably. What a
//! request does follows from the chunk, the request's number and the state before it, so that the
//! parent knows what has to be there. Nothing stays behind: the file has no name, and a child dies
//! with its parent.

use core::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use engine_runtime::Env;
use engine_shard::{ChunkStore, Payload, Read, StoreConfig, StoreError, Which};
use engine_store::{Change, ChunkKey, TruncateEpoch, Update};
use engine_types::{ChainVersion, ChunkSize, ChunkVersion, Rng};

use crate::common::{SLOT, Unnamed, bytes, core, options, target};

/// Tells the binary that it is the child: the file to write.
const FILE: &str = "EMBERFS_STORE_KILL_FILE";
/// Which runtime the child runs on.
const RUNTIME: &str = "EMBERFS_STORE_KILL_RUNTIME";
/// Number of the first request of each chunk.
const FIRST: &str = "EMBERFS_STORE_KILL_FIRST";
/// Sets how many processes are killed.
const CYCLES: (&str, u32) = ("EMBERFS_STORE_KILLS", 5);

/// Chunks, each with one request in flight.
const CHUNKS: u32 = 8;
/// A child lives for so long after its first word, milliseconds.
const LIFE_MS: u64 = 150;
/// The kernel ends the I/O of a killed process long before.
const HANG: Duration = Duration::from_secs(60);

fn key(chunk: u32) -> ChunkKey {
    ChunkKey::new(SLOT, 9, chunk)
}

/// Sizes from 4 KiB to 1 MiB.
fn size(chunk: u32) -> ChunkSize {
    ChunkSize::new((4 << 10) << (chunk % 5 * 2)).unwrap()
}

/// A committed version; nothing when the chunk is absent.
type Version = Option<(u32, Vec<u8>)>;

/// Number and length of a version.
fn outline(version: &Version) -> Option<(u32, u32)> {
    version.as_ref().map(|(number, bytes)| (*number, u32::try_from(bytes.len()).unwrap()))
}

/// One request and what becomes of it.
struct Request {
    version: u32,
    change: Change,
    data: Vec<u8>,
    aborts: bool,
    /// The child waits until the decision is durable.
    syncs: bool,
}

impl Request {
    /// Request `nth` of a chunk, of which a version of this number and length is committed.
    fn draw(chunk: u32, nth: u32, before: Option<(u32, u32)>) -> Self {
        let mut rng = Rng::new(u64::from(chunk) << 32 | u64::from(nth));
        let whole = size(chunk).bytes();
        let len = before.map_or(0, |(_, len)| len);
        let mut below = |most: u32| u32::try_from(rng.below(u64::from(most))).unwrap();
        let (offset, bytes) = match below(100) {
            _ if len == 0 => (0, 1 + below(whole)),
            0..=29 => (below(len), 1 + below(300)),
            30..=44 => (below(len) / 4096 * 4096, 4096),
            45..=69 if len < whole => (len, 1 + below(20_000)),
            70..=79 => (0, whole), // as a rule more than any other
            80..=87 => (below(len), 0),
            88..=94 => (below(whole), 1 + below(100_000)),
            _ => (0, 0),
        };
        let bytes = bytes.min(whole - offset);
        let change = match (offset, bytes) {
            (0, 0) => Change::Remove,
            (offset, 0) => Change::Truncate { len: offset },
            (offset, len) => Change::Write { offset, len },
        };
        let mut data = vec![0; bytes as usize];
        rng.fill_bytes(&mut data);
        let version = before.map_or(1, |(number, _)| number + 1);
        Self { version, change, data, aborts: rng.chance(150), syncs: rng.chance(50) }
    }

    /// The version that it makes.
    fn applied(&self, before: &Version) -> Version {
        let mut bytes = before.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        match self.change {
            Change::Remove => return None,
            Change::Truncate { len } => bytes.resize(len as usize, 0),
            Change::Write { offset, .. } => {
                let (start, end) = (offset as usize, offset as usize + self.data.len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(&self.data);
            }
            _ => unreachable!("it is not drawn"),
        }
        Some((self.version, bytes))
    }
}

/// What a child said about a chunk: numbers of its newest requests.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    begun: u32,
    stored: u32,
    decided: u32,
}

/// A chunk as it was found last, and what was said since.
#[derive(Clone, Debug, Default)]
struct Known {
    found: Version,
    /// Number of the next request.
    next: u32,
    said: Said,
}

/// What a crash may leave: what is committed, and what is pending, whose removal has no bytes.
struct Allowed {
    committed: Version,
    pending: Option<(u32, Version)>,
}

impl Known {
    /// Everything that a chunk may be after the child was killed.
    fn allowed(&self, chunk: u32) -> Vec<Allowed> {
        let Said { begun, stored, decided } = self.said;
        let mut now = self.found.clone();
        let mut allowed = Vec::new();
        for nth in self.next..=begun {
            let request = Request::draw(chunk, nth, outline(&now));
            let applied = request.applied(&now);
            let pending = Some((request.version, applied.clone()));
            let after = if request.aborts { now.clone() } else { applied };
            // A request that was stored is pending until its decision, which is durable when the
            // child said so, or when it said that the next one was stored (S10).
            if stored < nth {
                allowed.push(Allowed { committed: now.clone(), pending: None });
            }
            if decided < nth && stored <= nth {
                allowed.push(Allowed { committed: now.clone(), pending });
            }
            now = after;
        }
        if begun <= stored {
            allowed.push(Allowed { committed: now, pending: None });
        }
        allowed
    }
}

// --- the child -------------------------------------------------------------------------------

/// One word to the parent; the pipe is gone when the parent is.
fn say(words: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{words}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes until it is killed.
async fn write<E: Env>(env: E, path: PathBuf, first: Vec<u32>) {
    let config = StoreConfig { apply_backlog: 16, ..StoreConfig::default() };
    let (store, opened) = ChunkStore::open(&env, &path, config).await.unwrap();
    assert!(!opened.damaged);
    let store = Rc::new(store);
    let tasks: Vec<_> = (0..CHUNKS)
        .zip(first)
        .map(|(chunk, first)| env.spawn(write_chunk(env.clone(), store.clone(), chunk, first)))
        .collect();
    for task in tasks {
        task.await;
    }
}

async fn write_chunk<E: Env>(env: E, store: Rc<ChunkStore<E>>, chunk: u32, first: u32) {
    let key = key(chunk);
    for nth in first.. {
        let before = store.state(&key).committed.map(|(version, len)| (version.get(), len));
        let request = Request::draw(chunk, nth, before);
        let version = ChunkVersion::new(request.version);
        let update = Update {
            key,
            version,
            chain_version: ChainVersion::new(1),
            epoch: TruncateEpoch::default(),
            size: size(chunk),
            change: request.change,
            tag: None,
        };
        say(format_args!("begin {chunk} {nth}"));
        let payload = match request.change {
            Change::Write { offset, .. } => Payload::new(offset, bytes(&env, &request.data).await),
            _ => Payload { extents: Vec::new(), checksums: Vec::new() },
        };
        store.update(update, payload).await.unwrap();
        say(format_args!("stored {chunk} {nth}"));
        if request.aborts {
            store.abort(&key, version).await.unwrap();
            say(format_args!("decided {chunk} {nth}"));
            continue;
        }
        store.commit(&key, version).unwrap();
        if request.syncs {
            store.sync().await.unwrap();
            say(format_args!("decided {chunk} {nth}"));
        }
    }
}

/// Nothing unless the parent has started it.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    println!(); // the harness has begun a line
    // Whatever ends the parent ends the child; this holds for the thread that started it, which is
    // the test's and waits for it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let first = std::env::var(FIRST).unwrap();
    let first = first.split(',').map(|number| number.parse().unwrap()).collect();
    match std::env::var(RUNTIME).as_deref() {
        Ok("monoio") => {
            engine_runtime::monoio::run(core("child"), |env| write(env, path, first)).unwrap();
        }
        _ => engine_runtime::glommio::run(core("child"), |env| write(env, path, first)).unwrap(),
    }
}

// --- the parent ------------------------------------------------------------------------------

/// Kills and awaits its process when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended by itself
        let _ = self.0.wait();
    }
}

/// Starts a child, kills it at a random moment, notes what it had said.
fn one_life(path: &Path, runtime: &str, known: &mut [Known], rng: &mut Rng) {
    let first: Vec<String> = known.iter().map(|known| known.next.to_string()).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--nocapture", "--test-threads", "1"]);
    command.env(FILE, path).env(RUNTIME, runtime).env(FIRST, first.join(","));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = Killed(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let after = Duration::from_millis(rng.range(0..=LIFE_MS));
    let mut until = None;
    while let Some(Ok(line)) = lines.next() {
        hear(&line, known);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().unwrap());
        if line.starts_with("stored") && *until.get_or_insert(now + after) <= now {
            break;
        }
    }
    child.0.kill().unwrap();
    // What it said before it died counts.
    lines.map_while(Result::ok).for_each(|line| hear(&line, known));
}

fn hear(line: &str, known: &mut [Known]) {
    let mut words = line.split(' ');
    let (word, chunk, number) = (words.next(), words.next(), words.next());
    let (Some(chunk), Some(number)) = (chunk, number.and_then(|text| text.parse().ok())) else {
        return; // what the test harness says
    };
    let Ok(chunk) = chunk.parse::<usize>() else { return };
    let said = &mut known[chunk].said;
    match word {
        Some("begin") => said.begun = number,
        Some("stored") => said.stored = number,
        Some("decided") => said.decided = number,
        _ => {}
    }
}

/// Opens the store, waiting while the kernel still ends the child's I/O.
async fn opened<E: Env>(env: &E, path: &Path) -> Result<ChunkStore<E>, String> {
    let late = env.now() + HANG;
    loop {
        match ChunkStore::open(env, path, StoreConfig::default()).await {
            Ok((store, opened)) if !opened.damaged => return Ok(store),
            Ok(_) => return Err("the store says that it is damaged".to_owned()),
            Err(StoreError::Io(why))
                if why.source.kind() == std::io::ErrorKind::WouldBlock && env.now() < late =>
            {
                env.sleep_until(env.now() + Duration::from_millis(2)).await;
            }
            Err(why) => return Err(why.to_string()),
        }
    }
}

/// Compares everything, and decides what is pending.
async fn verify<E: Env>(
    env: E,
    path: PathBuf,
    mut known: Vec<Known>,
) -> Result<Vec<Known>, String> {
    let store = opened(&env, &path).await?;
    store.audit()?;
    for (chunk, known) in (0..).zip(&mut known) {
        known.found = verify_chunk(&store, chunk, known).await?;
        known.next = known.said.begun + 1;
        let nothing = known.said.begun;
        known.said = Said { begun: nothing, stored: nothing, decided: nothing };
    }
    store.audit()?;
    store.close().await.map_err(|why| why.to_string())?;
    Ok(known)
}

/// The chunk is what it may be; what is committed in the end.
async fn verify_chunk<E: Env>(
    store: &ChunkStore<E>,
    chunk: u32,
    known: &Known,
) -> Result<Version, String> {
    let is = store.state(&key(chunk));
    let committed = match is.committed {
        Some((version, _)) => Some((version.get(), whole(store, chunk, Which::Committed).await?)),
        None => None,
    };
    let pending = match is.pending {
        Some((version, Some(_))) => {
            let bytes = whole(store, chunk, Which::Pending).await?;
            Some((version.get(), Some((version.get(), bytes))))
        }
        Some((version, None)) => Some((version.get(), None)),
        None => None,
    };
    let all = known.allowed(chunk);
    if !all.iter().any(|one| one.committed == committed && one.pending == pending) {
        let allowed: Vec<_> = all
            .iter()
            .map(|one| (outline(&one.committed), one.pending.as_ref().map(|p| outline(&p.1))))
            .collect();
        let Known { next, said, .. } = known;
        return Err(format!("chunk {chunk}: {is:?}, allowed {allowed:?}; from {next}, {said:?}"));
    }
    let Some((number, version)) = pending else { return Ok(committed) };
    store.commit(&key(chunk), ChunkVersion::new(number)).map_err(|why| why.to_string())?;
    Ok(version)
}

async fn whole<E: Env>(store: &ChunkStore<E>, chunk: u32, of: Which) -> Result<Vec<u8>, String> {
    let len = size(chunk).bytes();
    let read = Read { key: key(chunk), offset: 0, len, version: of, verify: true };
    let found = store.read(read).await.map_err(|why| format!("chunk {chunk} {of:?}: {why}"))?;
    Ok(found.to_vec())
}

async fn format<E: Env>(env: E, path: PathBuf) {
    ChunkStore::format(&env, &path, &options()).await.unwrap();
    let (store, _) = ChunkStore::open(&env, &path, StoreConfig::default()).await.unwrap();
    store.set_target(SLOT, Some(target())).await.unwrap();
    store.close().await.unwrap();
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there() {
    let cycles = std::env::var(CYCLES.0).map_or(CYCLES.1, |text| text.parse().unwrap());
    let file = Unnamed::new("kill");
    let path = file.path();
    let formatted = path.clone();
    engine_runtime::monoio::run(core("format"), |env| format(env, formatted)).unwrap();
    let seed = u64::from(std::process::id());
    let mut rng = Rng::new(seed);
    let mut known = vec![Known { next: 1, ..Known::default() }; CHUNKS as usize];
    for cycle in 0..cycles {
        let runtime = if cycle % 2 == 0 { "glommio" } else { "monoio" };
        one_life(&path, runtime, &mut known, &mut rng);
        let path = path.clone();
        let verified =
            engine_runtime::monoio::run(core("verify"), |env| verify(env, path, known)).unwrap();
        known = match verified {
            Ok(known) => known,
            Err(why) => panic!("cycle {cycle} on {runtime}, seed {seed}: {why}"),
        };
        if (cycle + 1) % 10 == 0 {
            println!("{} of {cycles} processes killed", cycle + 1);
        }
    }
    let requests: u32 = known.iter().map(|known| known.said.begun).sum();
    println!("{cycles} processes killed, {requests} requests begun");
    assert!(CHUNKS * cycles < requests, "a process that does nothing proves nothing");
}

/// The comparison finds a version that is gone and one that nobody asked for.
#[test]
fn what_is_allowed_is_no_more_than_what_was_said() {
    let mut known = Known { next: 1, ..Known::default() };
    known.said = Said { begun: 2, stored: 1, decided: 0 };
    let first = Request::draw(0, 1, None).applied(&None);
    let allowed = known.allowed(0);
    let is = |one: &Allowed| (outline(&one.committed), one.pending.as_ref().map(|p| p.0));
    let found: Vec<_> = allowed.iter().map(is).collect();
    let committed = outline(&first);
    assert_eq!(found, [(None, Some(1)), (committed, None), (committed, Some(2))]);
    known.said.decided = 1;
    let found: Vec<_> = known.allowed(0).iter().map(is).collect();
    assert_eq!(found, [(committed, None), (committed, Some(2))]);
    known.said = Said { begun: 2, stored: 2, decided: 2 };
    assert_eq!(known.allowed(0).len(), 1);
}
