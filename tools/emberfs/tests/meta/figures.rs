//! What removal and deaths cost, in figures: those of `cargo x campaign meta-processes`, which says
//! how much is wanted and where figures go. `cargo test` takes a few, to know that they can be
//! taken. What must hold must hold in both: space comes back to the byte whatever is killed, and of
//! a load like mdtest's no operation is lost or done twice.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use client_storage::{At, Storage};
use engine_runtime::monoio::MonoioEnv;
use engine_runtime::{Env, all};
use engine_types::{ChunkId, InodeId, Instant};
use meta_client::MetaError;
use meta_protocol::{Attr, Caller, op};
use meta_schema::{Errno, INODE_ROOT};
use serde_json::{Value, json};
use tools_cluster::{Cluster, Name, Plan};

use clock::Clock;

use crate::client::{Member, Whereabouts, good, lent};
use crate::ground::{METAS, Meta, create, mkdir, names, plan, start, start_one, stop, with_mount};
use crate::support::{Folder, pause};

/// Files of a tree; the campaign sets it.
const TREE_FILES: (&str, u32) = ("EMBERFS_META_TREE_FILES", 2_000);
/// How often each kind of process is killed under load; the campaign sets it.
const KILLS: (&str, u32) = ("EMBERFS_META_KILLS", 2);
/// The file that figures are appended to, one document per line.
const REPORT: &str = "EMBERFS_META_REPORT";

/// Bytes of each file.
const FILE_BYTES: u32 = 4 << 10;
/// Files of a directory, and directories of one above them.
const FILES_PER_DIR: u32 = 1_000;
const DIRS_PER_PART: u32 = 20;
/// Files that are made at the same time.
const MAKERS: usize = 32;
/// Each store holds a replica of every file, and their metadata; a sparse file.
const STORE_BYTES: u64 = 4 << 30;
/// Files beside the tree, which stay.
const KEPT: u32 = 20;
/// Longest time until space is back, whatever the figure: four times the goal.
const BACK_TIME_MAX: Duration = Duration::from_secs(2_400);

mod clock {
    #![expect(
        clippy::disallowed_types,
        clippy::disallowed_methods,
        reason = "what processes take is real time, and no environment is there to ask"
    )]

    use core::time::Duration;

    /// Since when something is measured.
    pub(super) struct Clock(std::time::Instant);

    impl Clock {
        pub(super) fn start() -> Self {
            Self(std::time::Instant::now())
        }

        pub(super) fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
    }
}

fn wanted((variable, usual): (&str, u32)) -> u32 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// Tells a figure.
fn figure(document: &Value) {
    eprintln!("{document}");
    if let Some(path) = std::env::var_os(REPORT) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{document}").unwrap();
    }
}

/// What all stores hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    chunks: u64,
    bytes: u64,
}

fn held(cluster: &Cluster) -> Held {
    let nodes = (1..=3).map(|number| cluster.address(Name::Storage(number)).unwrap().to_string());
    let stores: Vec<Value> =
        nodes.flat_map(|address| good(cluster, &["storage", "space", &address])).collect();
    let sum = |field: &str| stores.iter().map(|store| store[field].as_u64().unwrap()).sum();
    Held { chunks: sum("chunks"), bytes: sum("live") }
}

/// Files are made by this, each with its content.
struct Maker {
    member: Member,
    meta: Meta,
    storage: Storage<MonoioEnv>,
}

impl Maker {
    fn at(&self, attr: &Attr) -> At {
        let layout = attr.layout.unwrap();
        let table = self.member.follower.routing().tables[&layout.table].chains.clone();
        let place = layout.chain_index(0, u32::try_from(table.len()).unwrap());
        let chunk = ChunkId { inode: attr.ino, index: 0 };
        let (size, epoch) = (layout.chunk_size, attr.truncate_epoch.get());
        At { chain: table[place as usize], chunk, size, epoch }
    }

    async fn file(&self, parent: InodeId, number: u32) -> Attr {
        let root = Caller::root();
        let made = self.meta.opened(&root, create(parent, &format!("f{number}"))).await;
        let attr = made.unwrap().0;
        let content = vec![number.to_le_bytes()[0]; FILE_BYTES as usize];
        let data = lent(&self.member.env, &content).await;
        self.storage.write(self.at(&attr), 0, data).await.unwrap();
        let (truncate_epoch, end) = (attr.truncate_epoch, u64::from(FILE_BYTES));
        let hint = Some(op::Hint { truncate_epoch, end, modified: true, in_doubt: false });
        let close = op::Close { ino: attr.ino, hint, atime: None };
        self.meta.attr(&root, close).await.unwrap()
    }

    async fn content(&self, attr: &Attr) -> Vec<u8> {
        let At { chain, chunk, .. } = self.at(attr);
        self.storage.read(chain, chunk, 0, FILE_BYTES).await.unwrap().bytes().to_vec()
    }

    /// `/tree/pN/dN/fN`.
    async fn tree(&self, files: u32) {
        let tree = mkdir(&self.meta, INODE_ROOT, "tree").await;
        let mut dirs = Vec::new();
        let count = files.div_ceil(FILES_PER_DIR);
        for part in 0..count.div_ceil(DIRS_PER_PART) {
            let above = mkdir(&self.meta, tree, &format!("p{part}")).await;
            for dir in 0..DIRS_PER_PART.min(count - part * DIRS_PER_PART) {
                dirs.push(mkdir(&self.meta, above, &format!("d{dir}")).await);
            }
        }
        let next = Cell::new(0);
        let makers = (0..MAKERS).map(async |_| {
            while next.get() < files {
                let number = next.replace(next.get() + 1);
                self.file(dirs[(number / FILES_PER_DIR) as usize], number).await;
            }
        });
        all(makers).await;
    }
}

/// What is known of the files beside the tree.
type Kept = Vec<Attr>;

/// Makes the tree, and what stays beside it.
fn build(at: Whereabouts, files: u32, cluster: &Cluster) -> (Kept, Held, Duration) {
    let kept = with_mount(at.clone(), async move |member, meta| {
        let maker = Maker { storage: member.storage(), member, meta };
        let dir = mkdir(&maker.meta, INODE_ROOT, "kept").await;
        let mut kept = Vec::new();
        for number in 0..KEPT {
            kept.push(maker.file(dir, number).await);
        }
        kept
    });
    let before = held(cluster);
    assert_eq!(before.chunks, u64::from(KEPT) * 3, "three replicas");
    let took = with_mount(at, async move |member, meta| {
        let maker = Maker { storage: member.storage(), member, meta };
        let began = maker.member.env.now();
        maker.tree(files).await;
        maker.member.env.now().saturating_since(began)
    });
    (kept, before, took)
}

/// Takes the tree out; how long the call took.
fn remove(at: Whereabouts) -> Duration {
    with_mount(at, async move |member, meta| {
        let began = member.env.now();
        let ask = op::RemoveTree { parent: INODE_ROOT, name: b"tree".to_vec() };
        meta.done(&Caller::root(), ask).await.unwrap();
        let took = member.env.now().saturating_since(began);
        assert_eq!(names(&meta, INODE_ROOT).await, ["kept"], "at once");
        took
    })
}

/// Looks until the stores hold what they held before; how long that was after `began`.
fn until_back(cluster: &Cluster, before: Held, began: &Clock) -> Duration {
    loop {
        let now = held(cluster);
        assert!(before.chunks <= now.chunks, "chunks of others went: {now:?}, {before:?}");
        if now == before {
            return began.elapsed();
        }
        assert!(began.elapsed() < BACK_TIME_MAX, "{now:?}, expected {before:?}");
        pause(Duration::from_millis(500));
    }
}

/// Waits until a fiftieth of the tree's chunks has gone of those that were left: removal is in the
/// midst of it. After a kill of all services that takes as long as their sessions' silence.
fn until_some_go(cluster: &Cluster, left: u64, files: u32) {
    let (goal, began) = (left - u64::from(files) * 3 / 50, Clock::start());
    while goal < held(cluster).chunks {
        assert!(began.elapsed() < PATIENCE, "no chunk is removed");
        pause(Duration::from_millis(50));
    }
}

/// What is beside the tree is as it was, and nothing of the tree is left behind.
fn check_rest(cluster: &Cluster, at: Whereabouts, kept: Kept) {
    with_mount(at, async move |member, meta| {
        let maker = Maker { storage: member.storage(), member, meta };
        assert_eq!(names(&maker.meta, INODE_ROOT).await, ["kept"]);
        for (was, number) in kept.iter().zip(0_u32..) {
            let is = maker.meta.attr(&Caller::root(), op::Stat { ino: was.ino }).await.unwrap();
            assert_eq!((is.ino, is.size, is.nlink), (was.ino, u64::from(FILE_BYTES), 1));
            let expected = vec![number.to_le_bytes()[0]; FILE_BYTES as usize];
            assert_eq!(maker.content(&is).await, expected);
        }
    });
    let kv = cluster.address(Name::Kv).unwrap().to_string();
    let said = cluster.emberfs(&["fsck", "--kv", &kv, "--json"]).unwrap();
    assert_eq!(said.status.code(), Some(0), "{} {}", said.out, said.err);
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// A cluster for a tree.
fn plan_of_tree(folder: &Folder, more_settings: &str) -> Plan {
    let usual = plan(folder);
    let meta_settings = usual.meta_settings.clone() + more_settings;
    let log = Some("warn".to_owned());
    Plan { meta_settings, store_bytes: STORE_BYTES, log, ..usual }
}

/// Removes a tree of files under the default limits while everything that does it is killed.
#[test]
fn a_big_tree_is_removed_through_kills() {
    let files = wanted(TREE_FILES);
    let folder = Folder::new("meta-big-tree");
    let mut cluster = start(plan_of_tree(&folder, ""));
    let at = Whereabouts::of(&cluster);
    let (kept, before, made) = build(at.clone(), files, &cluster);
    let full = held(&cluster);
    assert_eq!(full.chunks - before.chunks, u64::from(files) * 3);
    let began = Clock::start();
    let took = remove(at.clone());
    let rounds: [&[Name]; 4] =
        [&METAS, &[Name::Kv], &[METAS[0], Name::Kv], &[METAS[0], METAS[1], Name::Kv]];
    let mut left = Vec::new();
    let mut chunks = full.chunks;
    for victims in rounds {
        if TREE_FILES.1 < files {
            until_some_go(&cluster, chunks, files);
        }
        cluster.kill_all(victims).unwrap();
        chunks = held(&cluster).chunks;
        left.push(chunks - before.chunks);
        // The store last: services that start before it wait for it.
        victims.iter().for_each(|&name| start_one(&mut cluster, name));
        pause(Duration::from_secs(1));
    }
    let back = until_back(&cluster, before, &began);
    cluster.until_metas_ready().unwrap_or_else(|error| panic!("{error}"));
    check_rest(&cluster, at, kept);
    figure(&json!({ "tree": {
        "limits": "default",
        "kills": rounds.len(),
        "files": files,
        "bytes": full.bytes - before.bytes,
        "made_s": seconds(made),
        "remove_ms": u64::try_from(took.as_millis()).unwrap(),
        "back_s": seconds(back),
        "chunks_left_at_kills": left,
    } }));
    stop(cluster);
}

/// The same without limits, and without kills.
#[test]
fn a_big_tree_is_removed_as_fast_as_it_goes() {
    let files = wanted(TREE_FILES);
    let folder = Folder::new("meta-fast-tree");
    let off = "remove_files = 0\nremove_chunks = 0\nremove_entries = 0\n";
    let cluster = start(plan_of_tree(&folder, off));
    let at = Whereabouts::of(&cluster);
    let (kept, before, made) = build(at.clone(), files, &cluster);
    let full = held(&cluster);
    let began = Clock::start();
    let took = remove(at.clone());
    let back = until_back(&cluster, before, &began);
    check_rest(&cluster, at, kept);
    figure(&json!({ "tree": {
        "limits": "off",
        "kills": 0,
        "files": files,
        "bytes": full.bytes - before.bytes,
        "made_s": seconds(made),
        "remove_ms": u64::try_from(took.as_millis()).unwrap(),
        "back_s": seconds(back),
    } }));
    stop(cluster);
}

/// Tasks of the load: each second one works in a directory of its own, the others share one.
const TASKS: usize = 8;
/// Files of a task in one round.
const FILES: u64 = 12;
/// Longest wait for progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shared with the thread of the load.
struct Counts {
    stop: AtomicBool,
    /// Acknowledged operations of each task.
    done: [AtomicU64; TASKS],
    /// Longest time of one operation that has ended, ms.
    longest_ms: AtomicU64,
}

/// What mdtest does, round after round: create, look up, rename, list, unlink. Every answer is
/// known beforehand, so an operation that is lost, or done twice, is refused or seen.
struct Mdtest {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// One of its tasks.
struct Task {
    number: usize,
    meta: Meta,
    env: MonoioEnv,
    dir: InodeId,
    counts: Arc<Counts>,
    /// What is there of its own.
    files: RefCell<BTreeMap<String, InodeId>>,
}

impl Task {
    /// Counts an operation that was answered.
    fn answered<T>(&self, began: Instant, answer: Result<T, MetaError>) -> T {
        let took = self.env.now().saturating_since(began).as_millis();
        self.counts.longest_ms.fetch_max(u64::try_from(took).unwrap(), Ordering::SeqCst);
        self.counts.done[self.number].fetch_add(1, Ordering::SeqCst);
        answer.unwrap_or_else(|error| panic!("task {}: {error}", self.number))
    }

    fn name(&self, kind: char, number: u64) -> String {
        format!("{kind}.{}.{number}", self.number)
    }

    async fn lookup(&self, name: &str) -> Result<Attr, MetaError> {
        let ask = op::Lookup { parent: self.dir, name: name.as_bytes().to_vec() };
        self.meta.attr(&Caller::root(), ask).await
    }

    async fn round(&self, round: u64) {
        let root = Caller::root();
        let parent = self.dir;
        let numbers = round * FILES..(round + 1) * FILES;
        for number in numbers.clone() {
            let (name, began) = (self.name('c', number), self.env.now());
            let ask = op::Create { open: None, ..create(parent, &name) };
            let made = self.answered(began, self.meta.opened(&root, ask).await);
            assert!(made.1, "{name} is new");
            self.files.borrow_mut().insert(name, made.0.ino);
        }
        for number in numbers.clone() {
            let (name, began) = (self.name('c', number), self.env.now());
            let found = self.answered(began, self.lookup(&name).await);
            assert_eq!(Some(&found.ino), self.files.borrow().get(&name));
        }
        for number in numbers.clone() {
            let (old, new) = (self.name('c', number), self.name('r', number));
            let ask = op::Rename {
                from: parent,
                from_name: old.as_bytes().to_vec(),
                to: parent,
                to_name: new.as_bytes().to_vec(),
                no_replace: true,
                exchange: false,
                hold: false,
            };
            let began = self.env.now();
            self.answered(began, self.meta.done(&root, ask).await);
            let ino = self.files.borrow_mut().remove(&old).unwrap();
            self.files.borrow_mut().insert(new, ino);
        }
        self.check().await;
        for number in numbers {
            let (name, began) = (self.name('r', number), self.env.now());
            let ask = op::Unlink { parent, name: name.as_bytes().to_vec(), hold: false };
            self.answered(began, self.meta.done(&root, ask).await);
            self.files.borrow_mut().remove(&name);
            let gone = self.lookup(&name).await.unwrap_err();
            assert_eq!(gone.errno(), Errno::ENOENT, "{name}: {gone}");
        }
    }

    /// Of this task's names there are those that it has made.
    async fn check(&self) {
        let own = format!(".{}.", self.number);
        let mut found = names(&self.meta, self.dir).await;
        found.retain(|name| name[1..].starts_with(&own));
        found.sort_unstable();
        assert_eq!(found, self.files.borrow().keys().cloned().collect::<Vec<_>>());
    }

    async fn run(&self) {
        for round in 0_u64.. {
            if self.counts.stop.load(Ordering::SeqCst) {
                return self.check().await;
            }
            self.round(round).await;
        }
    }
}

impl Mdtest {
    fn start(cluster: &Cluster) -> Self {
        let counts = Arc::new(Counts {
            stop: AtomicBool::new(false),
            done: [const { AtomicU64::new(0) }; TASKS],
            longest_ms: AtomicU64::new(0),
        });
        let (at, shared) = (Whereabouts::of(cluster), counts.clone());
        let body =
            move || with_mount(at, async move |member, meta| drive(member, meta, shared).await);
        let thread = std::thread::Builder::new().name("mdtest".to_owned()).spawn(body).unwrap();
        Self { counts, thread: Some(thread) }
    }

    /// Waits until each task has done so many further operations: what was under way, and more.
    fn until_each(&self, more: u64) {
        let done = || self.counts.done.iter().map(|done| done.load(Ordering::SeqCst));
        let goals: Vec<u64> = done().map(|done| done + more).collect();
        let began = Clock::start();
        while done().zip(&goals).any(|(done, goal)| done < *goal) {
            let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the load has ended");
            assert!(began.elapsed() < PATIENCE, "the load makes no progress");
            pause(Duration::from_millis(20));
        }
    }

    /// The longest time of one operation since the last question.
    fn take_longest_ms(&self) -> u64 {
        self.counts.longest_ms.swap(0, Ordering::SeqCst)
    }

    /// Ends it, and checks what is there; how many operations were done.
    fn stop(mut self) -> u64 {
        self.counts.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.counts.done.iter().map(|done| done.load(Ordering::SeqCst)).sum()
    }
}

async fn drive(member: Member, meta: Meta, counts: Arc<Counts>) {
    let shared = mkdir(&meta, INODE_ROOT, "shared").await;
    let mut tasks = Vec::new();
    for number in 0..TASKS {
        let dir = match number % 2 {
            0 => shared,
            _ => mkdir(&meta, INODE_ROOT, &format!("own-{number}")).await,
        };
        let (meta, env, counts) = (meta.clone(), member.env.clone(), counts.clone());
        let files = RefCell::default();
        tasks.push(Rc::new(Task { number, meta, env, dir, counts, files }));
    }
    all(tasks.iter().map(async |task| task.run().await)).await;
    let metrics = meta.metrics();
    assert!(metrics.failed.is_empty(), "{metrics:?}");
}

/// Kills under load, and tells how long the longest operation took each time.
fn deaths(kind: &str, of: impl Fn(u32) -> Name) {
    let folder = Folder::new(&format!("meta-mdtest-{kind}"));
    let mut cluster = start(Plan { log: Some("warn".to_owned()), ..plan(&folder) });
    let load = Mdtest::start(&cluster);
    load.until_each(2 * FILES);
    let quiet = load.take_longest_ms();
    for number in 0..wanted(KILLS) {
        let name = of(number);
        load.take_longest_ms();
        cluster.kill(name).unwrap();
        if name == Name::Kv {
            start_one(&mut cluster, name);
        }
        load.until_each(FILES);
        let longest_ms = load.take_longest_ms();
        figure(&json!({ "death": { "of": kind, "longest_ms": longest_ms, "before_ms": quiet } }));
        if name != Name::Kv {
            start_one(&mut cluster, name);
            cluster.until_metas_ready().unwrap_or_else(|error| panic!("{error}"));
        }
        load.until_each(FILES);
    }
    let operations = load.stop();
    figure(&json!({ "load": { "of": kind, "operations": operations } }));
    stop(cluster);
}

#[test]
fn a_service_that_dies_costs_no_operation() {
    deaths("service", |number| METAS[number as usize % METAS.len()]);
}

#[test]
fn a_store_that_dies_costs_no_operation() {
    deaths("kv", |_| Name::Kv);
}
