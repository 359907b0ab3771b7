//! A service on a store in one simulated node, and the model beside it.

use core::fmt::Write as _;
use core::ops::Range;
use core::time::Duration;

use client_storage::{At, Holding};
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{
    ChainId, ChainTableId, ChainTableVersion, ChunkSize, ClusterId, InodeId, Instant, SessionId,
};
use meta_kv::{Embedded, Faults, Faulty, KvEngine, OwnKv};
use meta_metad::chunks::{Chunks, ChunksError};
use meta_metad::files::Files;
use meta_metad::mkfs::OpenError;
use meta_metad::{CallError, Halt, Store, Table, Tables, mkfs};
use meta_model::{Binding, Model, Root, Step, When};
use meta_protocol::op::LockWait;
use meta_protocol::{Answer, Caller, Operation, Refusal, Request, op};
use meta_schema::{FileType, INODE_ROOT, LayoutTemplate};

/// Chains of the only table.
const CHAINS: u32 = 12;
const TABLE: ChainTableId = ChainTableId::new(1);
const LAYOUT: LayoutTemplate = LayoutTemplate {
    chunk_size: ChunkSize::new(1 << 20).expect("a power of two"),
    stripe: 4,
    table: TABLE,
};
/// What mkfs makes.
pub(crate) const ROOT: Root =
    Root { ino: INODE_ROOT.get(), mode: 0o755, uid: 0, gid: 0, layout: LAYOUT };
/// Steps of histories that are told with their answers: those that were shrunk.
const ANSWERS_TOLD_MAX: usize = 16;
/// Time for one request.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A cluster without chunks: nobody writes.
#[derive(Clone)]
struct NoChunks;

impl Chunks for NoChunks {
    fn session(&self) -> SessionId {
        SessionId::new(1 << 40)
    }

    fn with_table<T>(&self, table: ChainTableId, read: impl FnOnce(&[ChainId]) -> T) -> T {
        let chains: Vec<ChainId> = (1..=CHAINS).filter_map(ChainId::new).collect();
        read(if table == TABLE { &chains } else { &[] })
    }

    async fn holding(
        &self,
        _: ChainId,
        _: InodeId,
        _: Range<u32>,
        _: bool,
        _: Instant,
    ) -> Result<Holding, ChunksError> {
        let list = Vec::new();
        Ok(Holding { chunks: 0, bytes: 0, allocated: 0, last: None, list, resume: None })
    }

    async fn cut(&self, _: At, _: u32, _: Instant) -> Result<(), ChunksError> {
        Ok(())
    }

    async fn remove(&self, _: Vec<At>, _: Instant) -> Result<(), ChunksError> {
        Ok(())
    }

    async fn is_over(&self, _: SessionId, _: Instant) -> Result<bool, ChunksError> {
        Ok(true)
    }
}

type Kv<G> = OwnKv<SimEnv, Faulty<SimEnv, Embedded<SimEnv, G>>>;

/// A service over a store of its own.
pub(crate) struct Service<G: KvEngine> {
    env: SimEnv,
    files: Files<SimEnv, Kv<G>, NoChunks>,
    /// Attempts of one request, before the store is taken for dead.
    attempts: u32,
}

impl<G: KvEngine> Service<G> {
    pub(crate) async fn open(
        env: &SimEnv,
        engine: G,
        faults: Faults,
        attempts: u32,
    ) -> Result<Self, OpenError> {
        let (store, task) = Embedded::start(env, engine).expect("a store that was opened");
        drop(task); // detached: it runs as long as the node
        let faulty = Faulty::new(env.clone(), store, Faults::default());
        let kv: Kv<G> = OwnKv::new(env.clone(), faulty);
        let superblock = mkfs::open(env, &kv, ClusterId::new(7), LAYOUT).await?;
        kv.source().set(faults);
        let store = Store::new(env, &kv, superblock);
        let table = Table { version: ChainTableVersion::new(3), chains: CHAINS };
        store.set_tables(Tables::from([(TABLE, table)]));
        let files = Files::new(env, store, &NoChunks);
        Ok(Self { env: env.clone(), files, attempts })
    }

    /// Asks until there is an answer or a refusal: the tag makes it once (M11).
    async fn ask(&self, request: &Request) -> Result<Result<Answer, Refusal>, Stop> {
        for attempt in 1..=self.attempts {
            match self.files.call(request, TIME_MAX).await {
                Ok(answer) => return Ok(Ok(answer)),
                Err(CallError::Halted(Halt::Refused(refusal))) => return Ok(Err(refusal)),
                Err(_) if attempt == self.attempts => {}
                Err(_) => self.env.sleep_until(self.env.now() + Duration::from_millis(100)).await,
            }
        }
        Err(Stop::Dead)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.env.wall().nanos()).expect("worlds are young")
    }
}

/// Why a history does not go on.
pub(crate) enum Stop {
    /// The store answers nothing more.
    Dead,
    /// The model says otherwise.
    Wrong(String),
}

/// A history, and the model beside it. It outlives services.
pub(crate) struct Story {
    steps: Vec<Step>,
    model: Model,
    binding: Binding,
    /// Answers of short histories, for people.
    told: String,
    next: usize,
    /// The request that is under way, and since when.
    pending: Option<(Request, i64)>,
}

impl Story {
    pub(crate) fn new(steps: &[Step]) -> Self {
        Self {
            steps: steps.to_vec(),
            model: Model::new(&ROOT),
            binding: Binding::new(),
            told: String::new(),
            next: 0,
            pending: None,
        }
    }

    /// Asks, and lets the model judge.
    async fn judge<G: KvEngine>(
        &mut self,
        service: &Service<G>,
        request: &Request,
    ) -> Result<Result<Answer, Refusal>, Stop> {
        let earliest = match self.pending.take() {
            Some((_, since)) => since,
            None => service.now(),
        };
        let found = match service.ask(request).await {
            Ok(found) => found,
            Err(stop) => {
                self.pending = Some((request.clone(), earliest));
                return Err(stop);
            }
        };
        let when = When { earliest, latest: service.now() };
        match self.model.check(request, &found, when) {
            Ok(()) => Ok(found),
            Err(divergence) => Err(Stop::Wrong(divergence.to_string())),
        }
    }

    /// Goes on with the history, and looks at everything in the end.
    pub(crate) async fn play<G: KvEngine>(&mut self, service: &Service<G>) -> Result<(), Stop> {
        while let Some(step) = self.steps.get(self.next).cloned() {
            let request = match &self.pending {
                Some((request, _)) => request.clone(),
                None => self.binding.request(&step),
            };
            if self.pending.is_some() || !is_second_wait(&self.model, &request) {
                let found = self.judge(service, &request).await.map_err(|stop| match stop {
                    Stop::Dead => Stop::Dead,
                    Stop::Wrong(why) => {
                        Stop::Wrong(format!("{}step {}: {why}", self.told, step.id))
                    }
                })?;
                if self.steps.len() < ANSWERS_TOLD_MAX {
                    let told = writeln!(self.told, "  {} was answered {found:?}", step.id);
                    told.expect("a string takes text");
                }
                self.binding.learn(&step, &request, &found);
            }
            self.next += 1;
        }
        self.audit(service).await
    }

    /// Looks at everything that can be reached.
    async fn audit<G: KvEngine>(&mut self, service: &Service<G>) -> Result<(), Stop> {
        self.pending = None;
        let mut dirs = vec![INODE_ROOT];
        while let Some(dir) = dirs.pop() {
            let look = |operation: Operation| Request {
                caller: Caller::root(),
                session: SessionId::new(77),
                tag: None,
                operation,
            };
            let stat = self.judge(service, &look(op::Stat { ino: dir }.into())).await?;
            stat.map_err(|refusal| Stop::Wrong(format!("audit: {refusal}")))?;
            let page = op::Readdir { dir, cookie: 0, limit: 1000, plus: true };
            if let Ok(Answer::Entries { entries, .. }) =
                self.judge(service, &look(page.into())).await?
            {
                let inner = entries.iter().filter(|entry| entry.kind == FileType::Directory);
                dirs.extend(inner.map(|entry| entry.ino));
            }
        }
        Ok(())
    }
}

/// Whether an owner that waits would wait for another lock besides.
fn is_second_wait(model: &Model, request: &Request) -> bool {
    match &request.operation {
        Operation::SetLock(op::SetLock { lock, wait: LockWait::Queue, .. }) => {
            model.may_wait(request.session, lock.owner)
        }
        _ => false,
    }
}
