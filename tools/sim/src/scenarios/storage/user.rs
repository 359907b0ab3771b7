//! A client of the workload: a session, and some lines of operations, one after the other in each.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use client_storage::Storage;
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{Instant, NodeRole, Rng, StoreId, reached};
use mgmt_client::{Follower, Managers, Session};
use mgmt_cluster::session::Client;

use super::QUIET_OPERATIONS;
use super::chunks_of::{Came, Chunks, Place, Shipped};
use super::ground::Ground;
use crate::check::chunks::{Answer, Call, Change, Epoch};
use crate::history::End;

/// How much later than its deadline an operation may end by the world's clock: a frozen process
/// ends nothing, and clocks drift.
pub(super) const LATE_MAX: Duration = Duration::from_secs(20);
const SESSION_TIME: Duration = Duration::from_secs(10);
/// Time in which answers that nobody waits for any more have come, or are given up.
const AT_REST_AFTER: Duration = Duration::from_secs(30);
/// What the followers of routing info and the keeper of the session hold.
const HELD_AT_REST_MAX: usize = 8 << 20;
/// Pause after a session that could not be opened.
const PAUSE: Duration = Duration::from_millis(300);
/// So many times as long clients pause once faults have stopped, until all is well.
const HEALING_PAUSE: u64 = 2;

/// The process of client `number`.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>, number: u32) {
    let net = ground.cluster.net(&env, NodeRole::Client);
    let managers = Managers::new(&env, net.clone(), ground.managers.clone());
    let follower = Follower::start(&managers);
    let succeeded = Rc::new(Cell::new(0));
    loop {
        let client = Client {
            uuid: StoreId::new(100 + u128::from(number)),
            epoch: ground.next_epoch(),
            process: 1,
            name: format!("user-{number}"),
            host: String::new(),
        };
        let Ok(session) = Session::open(&managers, client, env.now() + SESSION_TIME).await else {
            env.sleep_until(env.now() + PAUSE).await;
            continue;
        };
        ground.sessions.borrow_mut().push(session.id());
        let config = ground.setting.client.clone();
        let storage = Storage::new(&env, net.clone(), follower.clone(), session.id(), config);
        let shipped = Rc::new(Shipped { env: env.clone(), ground: ground.clone(), storage });
        let lasts = ground.setting.session_time(env.random()).filter(|_| !ground.quiet.get());
        let until = lasts.map(|lasts| env.now() + lasts);
        work(&env, &ground, number, &shipped, (&succeeded, until)).await;
        drop(shipped);
        if until.is_some_and(|until| until <= env.now()) && !session.is_lost() {
            // It runs out by itself where nobody hears of it.
            let _heard = session.close(env.now() + SESSION_TIME).await;
            reached!("L6: a storage client closed its session");
            continue;
        }
        if ground.quiet.get() && QUIET_OPERATIONS <= succeeded.get() {
            break;
        }
        reached!("L6: a storage client lost its session");
    }
    // T99: what operations held has come back; the follower keeps room for one answer.
    let end = env.now() + AT_REST_AFTER;
    while HELD_AT_REST_MAX < env.pool().held() && env.now() < end {
        env.sleep_until(env.now() + PAUSE).await;
    }
    let held = env.pool().held();
    if HELD_AT_REST_MAX < held {
        ground.find(format!("client {number} is idle and holds {held} bytes of its pool"));
    }
    ground.finished.set(ground.finished.get() + 1);
    core::future::pending().await
}

/// Lines of operations until all have ended, or the session has; none begins after `until`.
pub(super) async fn work<C: Chunks + 'static>(
    env: &SimEnv,
    ground: &Rc<Ground>,
    number: u32,
    chunks: &Rc<C>,
    (succeeded, until): (&Rc<Cell<u64>>, Option<Instant>),
) {
    let lines = (0..ground.setting.in_flight).map(|_| {
        let line = Line {
            env: env.clone(),
            ground: ground.clone(),
            number,
            chunks: chunks.clone(),
            rng: Rng::new(env.random()),
            succeeded: succeeded.clone(),
            until,
        };
        env.spawn(line.run())
    });
    for line in lines.collect::<Vec<_>>() {
        line.await;
    }
}

struct Line<C> {
    env: SimEnv,
    ground: Rc<Ground>,
    number: u32,
    chunks: Rc<C>,
    rng: Rng,
    /// Operations that succeeded after faults had stopped.
    succeeded: Rc<Cell<u64>>,
    until: Option<Instant>,
}

impl<C: Chunks> Line<C> {
    async fn run(mut self) {
        let over = |line: &Self| line.until.is_some_and(|until| until <= line.env.now());
        while !self.chunks.is_over() && !over(&self) {
            let quiet = self.ground.quiet.get();
            if quiet && QUIET_OPERATIONS <= self.succeeded.get() {
                return;
            }
            let done = self.operate().await;
            if quiet && done {
                self.succeeded.set(self.succeeded.get() + 1);
            }
            // Until chains are whole again a few operations are enough; many cost time and show
            // nothing that those before did not.
            let slowly = if self.ground.heals.get() && !quiet { HEALING_PAUSE } else { 1 };
            let longest = 1_000 * self.ground.setting.pause_ms * slowly;
            let pause = Duration::from_micros(self.rng.below(longest));
            self.env.sleep_until(self.env.now() + pause).await;
        }
    }

    /// One operation; whether it succeeded.
    async fn operate(&mut self) -> bool {
        let count = self.ground.histories.len() as u64;
        let index = usize::try_from(self.rng.below(count)).expect("few");
        let setting = &self.ground.setting;
        let place = Place {
            chain: self.ground.chain_of(index),
            chunk: self.ground.chunk(index),
            size: setting.size,
            epoch: 0,
        };
        let deadline = self.env.now() + setting.operation_time;
        let call = self.call(index);
        let history = &self.ground.histories[index];
        let id = history.invoke(self.number, self.env.world_now(), call);
        let came = match call {
            Call::Read { offset, len } => {
                let saw = self.chunks.read(place, offset, len, deadline).await;
                saw.map_or(Err(Came::Never), |saw| Ok(Answer::Saw(saw)))
            }
            Call::Update(change, epoch) => {
                match self.chunks.update(Place { epoch, ..place }, change, deadline).await {
                    Came::Done { version, len } => Ok(Answer::Made { version, len }),
                    other => Err(other),
                }
            }
        };
        let at = self.env.world_now();
        let done = came.is_ok();
        let end = match came {
            Ok(result) => End::Returned { at, result },
            Err(Came::Unknown) => {
                reached!("T92: an update of a chunk ends with unknown outcome");
                End::Unknown { at }
            }
            Err(_) => End::Failed { at },
        };
        history.end(id, end);
        done
    }

    fn call(&mut self, index: usize) -> Call {
        let setting = &self.ground.setting;
        let (size, removals) = (setting.size.bytes(), setting.removals);
        if self.rng.chance(setting.reads) {
            if self.rng.chance(600) {
                return Call::Read { offset: 0, len: size };
            }
            let (offset, len) = self.range(size);
            return Call::Read { offset, len };
        }
        if self.rng.chance(removals) {
            return Call::Update(Change::Remove, self.epoch(index, true));
        }
        let (offset, len) = self.range(size);
        let change = match self.rng.below(16) {
            0 => Change::Truncate { len: offset },
            1 => Change::Extend { len: offset },
            2 => Change::Zero { offset, len },
            _ => Change::Write { offset, len, stamp: self.ground.next_stamp() },
        };
        let cuts = matches!(change, Change::Truncate { .. });
        Call::Update(change, self.epoch(index, cuts))
    }

    /// Whoever cuts a file raises its epoch; a few have not heard of the newest one, and a removal
    /// may come long after it was decided (M1).
    fn epoch(&mut self, index: usize, cuts: bool) -> Epoch {
        if !self.ground.setting.epochs {
            return 0;
        }
        if self.rng.chance(150) {
            let newest = u64::from(self.ground.epoch(index));
            let old = self.rng.range(newest.saturating_sub(2)..=newest);
            reached!("T100: an update of an epoch that may be over");
            return Epoch::try_from(old).expect("not above the newest");
        }
        if cuts { self.ground.raise_epoch(index) } else { self.ground.epoch(index) }
    }

    /// Mostly a small part of the chunk, sometimes of whole sectors, sometimes most of it.
    fn range(&mut self, size: u32) -> (u32, u32) {
        const SECTOR: u64 = 4096;
        let rng = &mut self.rng;
        let size = u64::from(size);
        let kinds = if self.ground.setting.comes_and_goes { 20 } else { 10 };
        let (mut offset, mut len) = match rng.below(kinds) {
            0..=5 => (rng.below(size - 8), rng.range(8..=6_000)),
            6..=7 => (rng.below(size / SECTOR) * SECTOR, rng.range(1..=4) * SECTOR),
            9 => (rng.below(size - 8), rng.range(8..=size)),
            _ => (0, size),
        };
        offset = offset.min(size - 8);
        len = len.min(size - offset);
        (u32::try_from(offset).expect("small"), u32::try_from(len).expect("small"))
    }
}
