//! The client's core: tasks that do what mdtest does, one request each at a time.
//!
//! Owner: the main thread asks it for slices. What a slice needs (entries that can be removed) is
//! made before it, and what it leaves for later (chunks and records of files that were removed) is
//! waited for behind it; neither is measured.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;
use std::sync::mpsc;

use engine_net::Client as Connection;
use engine_runtime::{Env, Sender, until};
use engine_types::{InodeId, NodeRole, Rng, StoreId};
use meta_client::{MetaClient, MetaConfig};
use meta_kv::{KeyRange, Kv as _, OwnKv, RangeRead, ReadMode, Transaction as _};
use meta_kvd::Remote;
use meta_protocol::{Answer, Call as _, Caller, Operation, Record as _, Request, op};
use meta_schema::{DeletionClass, INODE_ROOT, Mode, key};
use mgmt_client::{Client, Follower, Managers, Session};
use mgmt_cluster::command::Command;
use mgmt_protocol::Operation as Managed;

use super::null;
use super::service::TABLE;
use super::shape::{PAGE_ENTRIES, Shape, Side, Work};
use crate::cpu::KernelThreads;
use crate::kv::work::text;
use crate::loopback::config;
use crate::meter::{Meter, Taken, slice};
use crate::runtime::Main;
use crate::stats::Division;
use crate::storage::caller::chain_over;
use crate::storage::threads;

/// Services, a chain and a session take seconds on a busy machine.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// Removal of what a slice has unlinked: at the rate that ships a second or two.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(120);
/// How often it is looked whether that is done.
const REMOVAL_POLL: Duration = Duration::from_millis(100);
/// Entries of each task before the first slice that removes some.
const STOCK: usize = 128;
/// Most of them: what one task removes in a slice of a second on a machine ten times as fast.
const STOCK_MAX: usize = 16_384;

/// Who is to be called.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    pub(super) manager: SocketAddr,
    pub(super) node: (SocketAddr, StoreId),
    pub(super) kv: SocketAddr,
    pub(super) nulls: Vec<SocketAddr>,
}

/// What the client's core is to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Make directories and entries for a row.
    Prepare(Shape),
    /// Measure a slice.
    Slice(Side),
}

/// A slice, and what it cost as a whole.
pub(super) struct Told {
    pub(super) taken: Taken,
    /// Of the store, whoever made them.
    pub(super) commits: u64,
    /// That they were written in.
    pub(super) groups: u64,
    /// CPU time of each thread.
    pub(super) threads: threads::Times,
}

impl Told {
    /// A slice of which no more is known.
    pub(super) fn of(taken: Taken) -> Self {
        Self { taken, commits: 0, groups: 0, threads: threads::Times::new() }
    }
}

/// A question and where its answer goes.
pub(super) struct Order {
    pub(super) ask: Ask,
    pub(super) answer: mpsc::Sender<Result<Told, String>>,
}

/// The core.
pub(super) struct ClientCore {
    pub(super) peers: Peers,
    pub(super) division: Division,
    pub(super) ready: mpsc::Sender<Sender<Order>>,
}

impl Main for ClientCore {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let mount = Mount::new(&env, &self.peers).await?;
        let (orders, ordered) = env.mailbox::<Order>(1);
        drop(self.ready.send(orders));
        let (mut row, mut kernel) = (None, KernelThreads::default());
        while let Some(Order { ask, answer }) = ordered.recv().await {
            let told = match ask {
                Ask::Prepare(shape) => match Tasks::new(&mount, shape).await {
                    Ok(tasks) => {
                        row = Some(Rc::new(tasks));
                        Ok(Told::of(Taken::nothing()))
                    }
                    Err(why) => Err(why),
                },
                Ask::Slice(side) => match &row {
                    Some(tasks) => self.slice(&mount, tasks, side, &mut kernel).await,
                    None => Err("nothing was prepared".to_owned()),
                },
            };
            drop(answer.send(told));
        }
        mount.meta.close(env.now() + READY_TIME_MAX).await;
        // One that cannot be closed runs out, and the manager ends behind this core.
        let _ = mount.session.close(env.now() + READY_TIME_MAX).await;
        Ok(())
    }
}

impl ClientCore {
    async fn slice<E: Env>(
        &self,
        mount: &Rc<Mount<E>>,
        tasks: &Rc<Tasks<E>>,
        side: Side,
        kernel: &mut KernelThreads,
    ) -> Result<Told, String> {
        let env = &mount.env;
        if side == Side::Null {
            let (clients, ask) = (mount.nulls.clone(), tasks.null_ask()?);
            let flood = |meter| null::flood(clients, ask, tasks.shape.tasks, meter);
            return Ok(Told::of(slice(env, &self.division, 0, flood).await?.into()));
        }
        loop {
            if tasks.shape.work.consumes() {
                tasks.fill().await?;
            }
            let (before, used) = (mount.counts().await?, threads::read(kernel)?);
            let flood = |meter| flood(tasks.clone(), meter);
            let taken = slice(env, &self.division, 0, flood).await?.into();
            let mut spent = threads::Times::new();
            threads::add(&mut spent, &used, &threads::read(kernel)?);
            let after = mount.counts().await?;
            if tasks.shape.work == Work::Unlink {
                mount.until_removed().await?;
            }
            if !tasks.ran_dry()? {
                let (commits, groups) = (after.0 - before.0, after.1 - before.1);
                return Ok(Told { taken, commits, groups, threads: spent });
            }
        }
    }
}

/// A mounted file system, without a kernel.
struct Mount<E: Env> {
    env: E,
    meta: MetaClient<E>,
    session: Rc<Session<E>>,
    store: Remote<E>,
    kv: OwnKv<E, Remote<E>>,
    nulls: Vec<Connection<E>>,
}

impl<E: Env> Mount<E> {
    /// Makes a chain, and waits until every service serves.
    async fn new(env: &E, peers: &Peers) -> Result<Rc<Self>, String> {
        let operator = Managers::new(env, config(NodeRole::Operator), vec![peers.manager]);
        let follower = Follower::start(&operator);
        let chain = chain_over(&operator, &follower, &[peers.node]).await?;
        let by = env.now() + READY_TIME_MAX;
        let table = Managed::Cluster(Command::SetTable(TABLE, vec![chain]));
        operator.call(&table, by).await.map_err(text)?;
        let count = peers.nulls.len();
        let served = follower.until(|routing| {
            let metas = routing.nodes.values().filter(|node| node.role == NodeRole::Meta);
            routing.tables.contains_key(&TABLE) && metas.count() == count
        });
        let late = |_| "the services do not register".to_owned();
        until(env, by, core::pin::pin!(served)).await.map_err(late)?;

        let net = config(NodeRole::Client);
        let managers = Managers::new(env, net.clone(), vec![peers.manager]);
        let (uuid, name, host) = (StoreId::new(0xc11e), "bench".to_owned(), "bench".to_owned());
        let client = Client { uuid, epoch: 1, process: std::process::id(), name, host };
        let session = Session::open(&managers, client, by).await.map_err(text)?;
        let meta =
            MetaClient::new(env, net.clone(), follower, session.clone(), MetaConfig::default());
        let null = |&at: &SocketAddr| Connection::new(env, net.clone(), at);
        let store = Remote::new(env, net.clone(), peers.kv);
        let mount = Self {
            env: env.clone(),
            meta,
            session,
            kv: OwnKv::new(env.clone(), store.clone()),
            store,
            nulls: peers.nulls.iter().map(null).collect(),
        };
        mount.made(op::Stat { ino: INODE_ROOT }).await?;
        Ok(Rc::new(mount))
    }

    /// Does what is answered with attributes; the number of the inode.
    async fn made(&self, operation: impl Into<Operation>) -> Result<InodeId, String> {
        let attr = self.meta.attr(&Caller::root(), operation).await.map_err(text)?;
        Ok(attr.ino)
    }

    async fn done(&self, operation: impl Into<Operation>) -> Result<(), String> {
        self.meta.done(&Caller::root(), operation).await.map_err(text)
    }

    async fn mkdir(&self, parent: InodeId, name: Vec<u8>) -> Result<InodeId, String> {
        let (mode, umask) = (Mode::new(0o755), Mode::default());
        self.made(op::Mkdir { parent, name, mode, umask, layout: None }).await
    }

    /// Commits of the store, and the groups that they were written in.
    async fn counts(&self) -> Result<(u64, u64), String> {
        let told = self.store.status().await.map_err(text)?.told;
        Ok((told.commits, told.groups))
    }

    /// Waits until nothing is queued for removal.
    async fn until_removed(&self) -> Result<(), String> {
        let first = key::deletions(DeletionClass::Small, 0);
        let range = KeyRange::prefix(&first[..4]).ok_or("letters are below 0xff")?;
        let give_up_at = self.env.now() + REMOVAL_TIME_MAX;
        while self.env.now() < give_up_at {
            let transaction = self.kv.begin(meta_kv::TransactionOptions::default());
            let read = RangeRead::new(range.clone()).limit(1);
            let page = transaction.range(read, ReadMode::Snapshot).await.map_err(text)?;
            if page.entries.is_empty() {
                return Ok(());
            }
            self.env.sleep_until(self.env.now() + REMOVAL_POLL).await;
        }
        Err("what was unlinked is not removed".to_owned())
    }
}

/// One of the tasks of a row.
struct Task {
    number: u32,
    dir: InodeId,
    /// Its entries.
    entries: RefCell<Vec<(Vec<u8>, InodeId)>>,
    /// Of the next name.
    next: Cell<u64>,
    cookie: Cell<u64>,
    random: RefCell<Rng>,
    /// There was nothing left to remove.
    dry: Cell<bool>,
}

/// The tasks of a row.
struct Tasks<E: Env> {
    mount: Rc<Mount<E>>,
    shape: Shape,
    all: Vec<Rc<Task>>,
    /// Entries that each has before a slice that removes some.
    stock: Cell<usize>,
    answer_bytes: usize,
}

impl<E: Env> Tasks<E> {
    async fn new(mount: &Rc<Mount<E>>, shape: Shape) -> Result<Self, String> {
        let row = mount.mkdir(INODE_ROOT, format!("{:016x}", mount.env.random()).into()).await?;
        let mut all = Vec::new();
        for number in 0..shape.tasks {
            let own = format!("task-{number}").into();
            let dir = if shape.shared { row } else { mount.mkdir(row, own).await? };
            all.push(Rc::new(Task {
                number,
                dir,
                entries: RefCell::default(),
                next: Cell::new(0),
                cookie: Cell::new(0),
                random: RefCell::new(Rng::new(mount.env.random())),
                dry: Cell::new(false),
            }));
        }
        let attr = mount.meta.attr(&Caller::root(), op::Stat { ino: row }).await.map_err(text)?;
        let answer_bytes = Answer::Attr(attr).encode().len();
        let (mount, stock) = (mount.clone(), Cell::new(shape.entries() as usize));
        let tasks = Self { mount, shape, all, stock, answer_bytes };
        tasks.fill().await?;
        if shape.work.consumes() {
            tasks.stock.set(tasks.stock.get().max(STOCK));
        }
        Ok(tasks)
    }

    /// Makes entries until each task has its stock.
    async fn fill(&self) -> Result<(), String> {
        let stock = self.stock.get();
        let fill = |task: &Rc<Task>| {
            let (mount, work, task) = (self.mount.clone(), self.shape.work, task.clone());
            self.mount.env.spawn(async move {
                while task.entries.borrow().len() < stock {
                    let name = task.fresh();
                    let made = task.make(&mount, work.is_of_directories(), name.clone()).await?;
                    task.entries.borrow_mut().push((name, made));
                }
                Ok::<(), String>(())
            })
        };
        let all: Vec<_> = self.all.iter().map(fill).collect();
        for one in all {
            one.await?;
        }
        Ok(())
    }

    /// Whether a task had nothing left to remove in a slice: then all get twice as much.
    fn ran_dry(&self) -> Result<bool, String> {
        let dry = self.all.iter().filter(|task| task.dry.replace(false)).count();
        if 0 < dry {
            let stock = self.stock.get() * 2;
            if STOCK_MAX < stock {
                return Err(format!("{STOCK_MAX} entries of each task are too few for a slice"));
            }
            self.stock.set(stock);
        }
        Ok(0 < dry)
    }

    /// As long as a stat and its answer.
    fn null_ask(&self) -> Result<null::Ask, String> {
        let (caller, session) = (Caller::root(), self.mount.meta.session());
        let ino = self.all.first().ok_or("a row has tasks")?.dir;
        let request = Request { caller, session, tag: None, operation: op::Stat { ino }.into() };
        let (room, answer_bytes) = (request.room(), self.answer_bytes);
        Ok(null::Ask { request: request.encode(), room, answer_bytes })
    }
}

impl Task {
    fn fresh(&self) -> Vec<u8> {
        let next = self.next.replace(self.next.get() + 1);
        // As mdtest names them.
        format!("file.mdtest.{}.{next}", self.number).into()
    }

    fn some(&self) -> Result<usize, String> {
        let count = self.entries.borrow().len() as u64;
        if count == 0 {
            return Err("a task has no entries".to_owned());
        }
        usize::try_from(self.random.borrow_mut().below(count)).map_err(text)
    }

    async fn make<E: Env>(
        &self,
        mount: &Mount<E>,
        directory: bool,
        name: Vec<u8>,
    ) -> Result<InodeId, String> {
        if directory {
            return mount.mkdir(self.dir, name).await;
        }
        let (mode, umask) = (Mode::new(0o644), Mode::default());
        let (exclusive, open, layout) = (true, None, None);
        let parent = self.dir;
        mount.made(op::Create { parent, name, mode, umask, exclusive, open, layout }).await
    }

    async fn operate<E: Env>(&self, mount: &Mount<E>, work: Work) -> Result<(), String> {
        let dir = self.dir;
        match work {
            Work::Create | Work::Mkdir => {
                self.make(mount, work == Work::Mkdir, self.fresh()).await.map(drop)
            }
            Work::Stat | Work::StatDir => {
                let ino = self.entries.borrow()[self.some()?].1;
                mount.made(op::Stat { ino }).await.map(drop)
            }
            Work::Readdir => {
                let (cookie, limit) = (self.cookie.get(), PAGE_ENTRIES);
                let ask = op::Readdir { dir, cookie, limit, plus: false };
                let (page, end) = mount.meta.entries(&Caller::root(), ask).await.map_err(text)?;
                let last = page.last().map_or(0, |entry| entry.cookie);
                self.cookie.set(if end { 0 } else { last });
                Ok(())
            }
            Work::Rename | Work::RenameDir => {
                let at = self.some()?;
                let (from_name, to_name) = (self.entries.borrow()[at].0.clone(), self.fresh());
                let ask = op::Rename {
                    from: dir,
                    from_name,
                    to: dir,
                    to_name: to_name.clone(),
                    no_replace: false,
                    exchange: false,
                    hold: false,
                };
                mount.done(ask).await?;
                self.entries.borrow_mut()[at].0 = to_name;
                Ok(())
            }
            Work::Unlink | Work::Rmdir => {
                let Some((name, _)) = self.entries.borrow_mut().pop() else {
                    self.dry.set(true);
                    return Ok(());
                };
                match work {
                    Work::Unlink => mount.done(op::Unlink { parent: dir, name, hold: false }).await,
                    _ => mount.done(op::Rmdir { parent: dir, name }).await,
                }
            }
        }
    }
}

/// Keeps a request of each task under way for one slice.
async fn flood<E: Env>(tasks: Rc<Tasks<E>>, meter: Rc<Meter<E>>) {
    let worker = |task: &Rc<Task>| {
        let (tasks, task, meter) = (tasks.clone(), task.clone(), meter.clone());
        meter.env().clone().spawn(async move {
            while !meter.stopping() && !task.dry.get() {
                let began = meter.env().now();
                if let Err(why) = task.operate(&tasks.mount, tasks.shape.work).await {
                    return meter.fail(why);
                }
                meter.completed(1);
                meter.answered(began);
            }
        })
    };
    let workers: Vec<_> = tasks.all.iter().map(worker).collect();
    for worker in workers {
        worker.await;
    }
}
