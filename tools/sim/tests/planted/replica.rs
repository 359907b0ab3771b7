//! One replica of the store: a log, the lists it leads to, and the part it plays now.
//!
//! A primary settles before it serves: every member adopts its log under a new stamp, those that
//! do not are excluded, and the arbiter records both. It answers a change when the record is
//! durable on all members, a read while its lease lasts. Requests are executed one at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use engine_net::{Request, Server, Service};
use engine_runtime::{Env, FileError, Gate, Notify, until};
use engine_types::{Instant, Status, WallTime, reached};
use engine_wire::bodies::to_owned;

use crate::bug::Bug;
use crate::log::Log;
use crate::message::{
    Answer, AnswerBody, Ask, AskBody, Configuration, Entry, Peers, Stamp, net_config,
};

pub(crate) const PORT: u16 = 7000;
/// Short, so that a world sees many of them end.
pub(crate) const LEASE: Duration = Duration::from_millis(150);
const HEARTBEAT_PERIOD: Duration = Duration::from_millis(40);
/// For one request between servers.
const PATIENCE: Duration = Duration::from_millis(60);
/// Before a settlement is tried again.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Clone)]
pub(crate) struct ReplicaConfig {
    pub(crate) number: u32,
    pub(crate) replicas: Vec<SocketAddr>,
    pub(crate) arbiter: SocketAddr,
    pub(crate) bug: Option<Bug>,
}

/// Asks a process to end.
#[derive(Clone, Default)]
pub(crate) struct Stopped {
    stopped: Rc<Cell<bool>>,
    notify: Notify,
}

impl Stopped {
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.notify.notify();
    }

    pub(crate) async fn wait(&self) {
        self.notify.until(|| self.stopped.get()).await;
    }
}

/// One life of the process; ends when its disk fails.
pub(crate) async fn run<E: Env>(env: E, config: ReplicaConfig) {
    let Ok(log) = Log::recover(&env, config.bug).await else { return };
    let incarnation = env.random();
    let net = net_config(config.number, incarnation);
    let listener = env.listen(([0, 0, 0, 0], PORT).into()).expect("the port is free");
    let replica = Rc::new(Replica {
        peers: Peers::new(&env, net.clone()),
        env: env.clone(),
        config,
        incarnation,
        disk: Gate::new(1),
        log: RefCell::new(Some(log)),
        state: RefCell::default(),
        jobs: RefCell::default(),
        changed: Notify::default(),
        stopped: Stopped::default(),
    });
    let server = Server::start(&env, net, listener, replica.clone());
    drop(env.spawn(replica.clone().beat()));
    drop(env.spawn(replica.clone().rule()));
    replica.stopped.wait().await;
    server.stop();
}

/// A change that a client waits for.
struct Job {
    entry: Entry,
    answer: Rc<RefCell<Option<Answer>>>,
    done: Notify,
}

#[derive(Default)]
struct State {
    configuration: Option<Configuration>,
    leased_until: Instant,
    leased_until_wall: WallTime,
    joining: Vec<u32>,
    /// Epoch under which everything in the log is held by all members, and the stamp for more.
    settled: Option<(u64, Stamp)>,
    /// Epoch under which the lists hold everything acknowledged: while it lasts and the lease
    /// does, reads are answered, also while this primary settles again.
    readable: Option<u64>,
    attempt: u64,
    lists: BTreeMap<u32, Vec<u64>>,
    /// Newest request done, per client.
    done: BTreeMap<u32, u64>,
}

pub(crate) struct Replica<E: Env> {
    env: E,
    config: ReplicaConfig,
    incarnation: u64,
    peers: Peers<E>,
    /// The turn to use the log; it is in `log` between turns.
    disk: Gate,
    log: RefCell<Option<Log<E>>>,
    state: RefCell<State>,
    jobs: RefCell<VecDeque<Job>>,
    changed: Notify,
    stopped: Stopped,
}

impl<E: Env> Service<E> for Replica<E> {
    async fn call(self: Rc<Self>, request: Request<E>) {
        let Ok(ask) = request.body::<AskBody>().and_then(to_owned::<AskBody>) else {
            return request.refuse(Status::InvalidArgument).await;
        };
        match self.answer(ask.0).await {
            Ok(answer) => request.respond(&AnswerBody(answer), &[]).await,
            Err(_) => self.stopped.stop(),
        }
    }
}

impl<E: Env> Replica<E> {
    async fn answer(&self, ask: Ask) -> Result<Answer, FileError> {
        match ask {
            Ask::Append(entry) => Ok(self.append(entry).await),
            Ask::Read { sequence, key, .. } => Ok(self.read(sequence, key)),
            Ask::Replicate { stamp, index, entry } => self.replicate(stamp, index, entry).await,
            Ask::Adopt { stamp, entries } => {
                let mut log = self.take_log().await;
                let newer = log.stamp < stamp;
                if newer {
                    self.step_down();
                    log.replace(stamp, entries).await?;
                }
                self.return_log(log);
                Ok(if newer { Answer::Stored } else { Answer::NotNow })
            }
            Ask::Dump => {
                let log = self.take_log().await;
                let entries = log.entries.clone();
                self.return_log(log);
                let configuration = self.state.borrow().configuration.clone();
                let members = configuration.map(|found| found.members).unwrap_or_default();
                Ok(Answer::Log { entries, members })
            }
            _ => Ok(Answer::NotNow),
        }
    }

    fn step_down(&self) {
        let mut state = self.state.borrow_mut();
        (state.settled, state.readable) = (None, None);
    }

    /// Leaves the change to the ruling task and waits for its answer.
    async fn append(&self, entry: Entry) -> Answer {
        if self.state.borrow().settled.is_none() {
            return Answer::NotNow;
        }
        let (answer, done) = (Rc::default(), Notify::default());
        let job = Job { entry, answer: Rc::clone(&answer), done: done.clone() };
        self.jobs.borrow_mut().push_back(job);
        self.changed.notify();
        done.until(|| answer.borrow().is_some()).await;
        answer.take().expect("looked at above")
    }

    fn read(&self, sequence: u64, key: u32) -> Answer {
        let state = self.state.borrow();
        let leased = match self.config.bug {
            Some(Bug::ReadWithoutLease) => true,
            Some(Bug::LeaseByWallClock) => self.env.wall() < state.leased_until_wall,
            _ => self.env.now() < state.leased_until,
        };
        if state.readable.is_none() || !leased {
            return Answer::NotNow;
        }
        let values = state.lists.get(&key).cloned().unwrap_or_default();
        Answer::List { sequence, values }
    }

    async fn replicate(&self, stamp: Stamp, index: u32, entry: Entry) -> Result<Answer, FileError> {
        let mut log = self.take_log().await;
        let from_ruler = log.stamp == stamp;
        let fits = from_ruler && log.entries.len() == index as usize;
        if !from_ruler {
            reached!("planted: a record of a replaced primary was refused");
        }
        let stored = fits && log.append(entry).await?;
        self.return_log(log);
        Ok(if stored { Answer::Stored } else { Answer::NotNow })
    }

    async fn take_log(&self) -> Log<E> {
        self.disk.take(1).await.expect("never closed");
        self.log.borrow_mut().take().expect("whoever had the turn has put it back")
    }

    /// Not called after an error: the process ends, and nobody gets a turn again.
    fn return_log(&self, log: Log<E>) {
        *self.log.borrow_mut() = Some(log);
        self.disk.give(1);
    }

    /// Tells the arbiter that this process lives, and learns who rules.
    async fn beat(self: Rc<Self>) {
        loop {
            let sent = self.env.now();
            let (replica, incarnation) = (self.config.number, self.incarnation);
            let ask = Ask::Heartbeat { replica, incarnation };
            let answer = self.peers.ask(self.config.arbiter, ask, PATIENCE).await;
            if let Ok(Answer::Granted { configuration, leased, wall_until, joining }) = answer {
                self.learn(configuration);
                let mut state = self.state.borrow_mut();
                if leased {
                    // From before the request: the grant may have been made as early as that.
                    state.leased_until = state.leased_until.max(sent + LEASE);
                    state.leased_until_wall = WallTime::from_nanos(wall_until);
                }
                state.joining = joining;
                drop(state);
                self.changed.notify();
            }
            self.env.sleep_until(sent + HEARTBEAT_PERIOD).await;
        }
    }

    fn learn(&self, configuration: Configuration) {
        let mut state = self.state.borrow_mut();
        let known = state.configuration.as_ref().map_or(0, |known| known.epoch);
        if known <= configuration.epoch {
            if state.settled.is_some_and(|(epoch, _)| epoch != configuration.epoch) {
                state.settled = None;
            }
            if state.readable != Some(configuration.epoch) {
                state.readable = None;
            }
            state.configuration = Some(configuration);
        }
    }

    fn rules(&self) -> Option<Configuration> {
        let state = self.state.borrow();
        let mine = |known: &&Configuration| {
            known.primary == self.config.number && known.incarnation == self.incarnation
        };
        state.configuration.as_ref().filter(mine).cloned()
    }

    /// The one task that changes lists: settles when it must, then executes one job after another.
    async fn rule(self: Rc<Self>) {
        loop {
            let result = match self.rules() {
                None => Ok(self.refuse_jobs()),
                Some(configuration) => {
                    let settled = self.state.borrow().settled;
                    let joins = !self.state.borrow().joining.is_empty();
                    match settled {
                        Some((_, stamp)) if !joins => self.execute(stamp, &configuration).await,
                        _ => self.settle(configuration).await,
                    }
                }
            };
            match result {
                Ok(true) => {}
                Ok(false) => {
                    let idle = self.rules().is_none() || self.state.borrow().settled.is_some();
                    let look = self.env.now() + if idle { HEARTBEAT_PERIOD } else { PAUSE };
                    let _looked = until(&self.env, look, self.changed.notified()).await;
                }
                Err(_) => return self.stopped.stop(),
            }
        }
    }

    fn refuse_jobs(&self) -> bool {
        for job in self.jobs.take() {
            *job.answer.borrow_mut() = Some(Answer::NotNow);
            job.done.notify();
        }
        false
    }

    /// Brings every member to this log and has the arbiter record who they are.
    async fn settle(&self, configuration: Configuration) -> Result<bool, FileError> {
        let (stamp, others) = {
            let mut state = self.state.borrow_mut();
            state.settled = None;
            state.attempt += 1;
            let joining = core::mem::take(&mut state.joining);
            let others = configuration.members.iter().copied().chain(joining);
            let others: Vec<u32> = others.filter(|&other| other != self.config.number).collect();
            (Stamp { epoch: configuration.epoch, attempt: state.attempt }, others)
        };
        let mut log = self.take_log().await;
        let replaced = stamp <= log.stamp;
        if !replaced {
            log.set_stamp(stamp).await?;
        }
        let entries = log.entries.clone();
        self.return_log(log);
        if replaced {
            return Ok(false); // another primary was here: the arbiter will tell
        }
        let mut members = vec![self.config.number];
        for other in others {
            let ask = Ask::Adopt { stamp, entries: entries.clone() };
            let to = self.config.replicas[other as usize];
            if matches!(self.peers.ask(to, ask, PATIENCE).await, Ok(Answer::Stored)) {
                members.push(other);
            }
        }
        members.sort_unstable();
        let (replica, incarnation, epoch) =
            (self.config.number, self.incarnation, configuration.epoch);
        let ask = Ask::Change { replica, incarnation, epoch, members: members.clone() };
        let answer = self.peers.ask(self.config.arbiter, ask, PATIENCE).await;
        let Ok(Answer::Changed { configuration }) = answer else { return Ok(false) };
        let settled = configuration.epoch == epoch + 1 && configuration.members == members;
        self.learn(configuration);
        if settled && self.rules().is_some() {
            self.commit_all(&entries);
            let mut state = self.state.borrow_mut();
            (state.settled, state.readable) = (Some((epoch + 1, stamp)), Some(epoch + 1));
        }
        Ok(settled)
    }

    /// Everything in the log is held by all members: it is done.
    fn commit_all(&self, entries: &[Entry]) {
        let mut state = self.state.borrow_mut();
        state.lists.clear();
        for entry in entries {
            state.lists.entry(entry.key).or_default().push(entry.value);
            if self.config.bug != Some(Bug::VolatileDedup) {
                state.done.insert(entry.client, entry.sequence);
            }
        }
    }

    /// Executes one change. `Ok(false)`: nothing to do now.
    async fn execute(
        self: &Rc<Self>,
        stamp: Stamp,
        configuration: &Configuration,
    ) -> Result<bool, FileError> {
        let Some(job) = self.jobs.borrow_mut().pop_front() else { return Ok(false) };
        let entry = job.entry;
        let done = self.state.borrow().done.get(&entry.client).copied().unwrap_or(0);
        let repeats = entry.sequence <= done && self.config.bug != Some(Bug::DoubleApply);
        let answer = if repeats {
            reached!("planted: a retry was answered from the table");
            // Of an older request its client no longer waits, and whether it was done is not known.
            if entry.sequence == done {
                Answer::Appended { sequence: done }
            } else {
                Answer::NotNow
            }
        } else if self.store(stamp, configuration, entry).await? {
            let mut state = self.state.borrow_mut();
            state.lists.entry(entry.key).or_default().push(entry.value);
            state.done.insert(entry.client, entry.sequence);
            Answer::Appended { sequence: entry.sequence }
        } else {
            Answer::NotNow
        };
        *job.answer.borrow_mut() = Some(answer);
        job.done.notify();
        Ok(true)
    }

    /// True when the record is durable on all members; else this primary has to settle again.
    async fn store(
        self: &Rc<Self>,
        stamp: Stamp,
        configuration: &Configuration,
        entry: Entry,
    ) -> Result<bool, FileError> {
        if self.config.bug == Some(Bug::AckBeforeDurable) {
            let (this, configuration) = (self.clone(), configuration.clone());
            drop(self.env.spawn(async move {
                let stored = this.store_everywhere(stamp, &configuration, entry).await;
                if stored.is_err() {
                    this.stopped.stop();
                }
            }));
            return Ok(true);
        }
        self.store_everywhere(stamp, configuration, entry).await
    }

    async fn store_everywhere(
        self: &Rc<Self>,
        stamp: Stamp,
        configuration: &Configuration,
        entry: Entry,
    ) -> Result<bool, FileError> {
        let mut log = self.take_log().await;
        if log.stamp != stamp {
            self.return_log(log);
            self.state.borrow_mut().settled = None;
            return Ok(false);
        }
        let index = u32::try_from(log.entries.len()).expect("a log has few records");
        let others = configuration.members.iter().filter(|&&other| other != self.config.number);
        let mut acks = Vec::new();
        for &other in others {
            let (this, to) = (self.clone(), self.config.replicas[other as usize]);
            let ask = Ask::Replicate { stamp, index, entry };
            acks.push(self.env.spawn(async move { this.peers.ask(to, ask, PATIENCE).await }));
        }
        let mut stored = log.append(entry).await?;
        self.return_log(log);
        if !stored {
            return Ok(false); // given up by a planted bug: the next record takes its place
        }
        if self.config.bug == Some(Bug::AckBeforeReplication) {
            return Ok(stored);
        }
        for ack in acks {
            stored &= matches!(ack.await, Ok(Answer::Stored));
        }
        if !stored {
            self.state.borrow_mut().settled = None;
        }
        Ok(stored)
    }
}
