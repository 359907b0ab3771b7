//! The arbiter: records who rules, and grants the primary a lease.
//!
//! A configuration is durable before anybody hears of it. A new primary is named only when the
//! lease of the old one has surely ended on any clock that drifts within the bound; a restarted
//! arbiter does not know what it granted and waits as long.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use engine_net::{Request, Server, Service};
use engine_runtime::{BUFFER_ALIGN, Env, File, FileError, Gate, OpenOptions};
use engine_types::{Instant, Status};
use engine_wire::bodies::to_owned;

use crate::bug::Bug;
use crate::log::{open_block, seal_block};
use crate::message::{Answer, AnswerBody, Ask, AskBody, Configuration, net_config};
use crate::replica::{LEASE, PORT, Stopped};

/// The lease on the arbiter's clock: 3 % cover two clocks that drift apart by 1 % each.
const LEASE_HERE: Duration = LEASE.saturating_mul(103).checked_div(100).expect("not zero");
/// A replica heard of this recently may join.
const JOIN_WITHIN: Duration = Duration::from_millis(120);
const BLOCKS: u64 = 2;
const NOBODY: u64 = u32::MAX as u64;

#[derive(Clone)]
pub(crate) struct ArbiterConfig {
    pub(crate) number: u32,
    pub(crate) replicas: u32,
    pub(crate) bug: Option<Bug>,
}

/// One life of the arbiter; ends when its disk fails.
pub(crate) async fn run<E: Env>(env: E, config: ArbiterConfig) {
    let Ok((file, configuration)) = recover(&env, config.replicas).await else { return };
    let listener = env.listen(([0, 0, 0, 0], PORT).into()).expect("the port is free");
    let net = net_config(config.number, env.random());
    let arbiter = Rc::new(Arbiter {
        leased_until: Cell::new(env.now() + LEASE_HERE),
        stopped: Stopped::default(),
        env: env.clone(),
        config,
        file,
        turn: Gate::new(1),
        configuration: RefCell::new(configuration),
        seen: RefCell::default(),
    });
    let server = Server::start(&env, net, listener, arbiter.clone());
    arbiter.stopped.wait().await;
    server.stop();
}

struct Arbiter<E: Env> {
    env: E,
    config: ArbiterConfig,
    file: E::File,
    /// One request at a time: a configuration is being recorded while its turn lasts.
    turn: Gate,
    configuration: RefCell<Configuration>,
    leased_until: Cell<Instant>,
    seen: RefCell<BTreeMap<u32, Instant>>,
    stopped: Stopped,
}

impl<E: Env> Service<E> for Arbiter<E> {
    async fn call(self: Rc<Self>, request: Request<E>) {
        let Ok(ask) = request.body::<AskBody>().and_then(to_owned::<AskBody>) else {
            return request.refuse(Status::InvalidArgument).await;
        };
        self.turn.take(1).await.expect("never closed");
        let answer = self.answer(ask.0).await;
        self.turn.give(1);
        match answer {
            Ok(answer) => request.respond(&AnswerBody(answer), &[]).await,
            Err(_) => self.stopped.stop(),
        }
    }
}

impl<E: Env> Arbiter<E> {
    async fn answer(&self, ask: Ask) -> Result<Answer, FileError> {
        let configuration = self.configuration.borrow().clone();
        match ask {
            Ask::Heartbeat { replica, incarnation } => self.heartbeat(replica, incarnation).await,
            Ask::Change { replica, incarnation, epoch, members } => {
                let rules = (configuration.primary, configuration.incarnation, configuration.epoch);
                if rules == (replica, incarnation, epoch) {
                    self.record(Configuration { epoch: epoch + 1, members, ..configuration })
                        .await?;
                }
                Ok(Answer::Changed { configuration: self.configuration.borrow().clone() })
            }
            _ => Ok(Answer::NotNow),
        }
    }

    async fn heartbeat(&self, replica: u32, incarnation: u64) -> Result<Answer, FileError> {
        self.seen.borrow_mut().insert(replica, self.env.now());
        let current = self.configuration.borrow().clone();
        let rules = current.primary == replica && current.incarnation == incarnation;
        let may_rule =
            current.members.contains(&replica) || self.config.bug == Some(Bug::ExcludedElected);
        if !rules && may_rule && self.leased_until.get() <= self.env.now() {
            let epoch = current.epoch + 1;
            let primary = replica;
            self.record(Configuration { epoch, primary, incarnation, ..current }).await?;
        }
        let configuration = self.configuration.borrow().clone();
        let leased = configuration.primary == replica && configuration.incarnation == incarnation;
        if leased {
            self.leased_until.set(self.env.now() + LEASE_HERE);
        }
        let seen = self.seen.borrow();
        let recent = self.env.now().saturating_sub(JOIN_WITHIN);
        let joining = seen
            .iter()
            .filter(|(replica, at)| recent <= **at && !configuration.members.contains(replica));
        let joining = joining.map(|(&replica, _)| replica).collect();
        let wall_until = (self.env.wall() + LEASE).nanos();
        Ok(Answer::Granted { configuration, leased, wall_until, joining })
    }

    /// Makes a configuration durable, then valid.
    async fn record(&self, configuration: Configuration) -> Result<(), FileError> {
        let Configuration { epoch, primary, incarnation, members } = &configuration;
        let members = members.iter().fold(0, |set: u64, &member| set | 1 << member);
        let words = [*epoch, u64::from(*primary), *incarnation, members];
        let bytes = seal_block(&self.env, b"conf", &words).await;
        self.file.write(epoch % BLOCKS * BUFFER_ALIGN as u64, bytes).await?;
        self.file.flush().await?;
        *self.configuration.borrow_mut() = configuration;
        Ok(())
    }
}

async fn recover<E: Env>(env: &E, replicas: u32) -> Result<(E::File, Configuration), FileError> {
    let options = OpenOptions { write: true, create: true, ..OpenOptions::default() };
    let file = env.open(Path::new("configuration"), options).await?;
    let bytes = BLOCKS * BUFFER_ALIGN as u64;
    if file.geometry().size < bytes {
        file.preallocate(0, bytes).await?;
    }
    let mut newest = [0, NOBODY, 0, (1 << replicas) - 1];
    for block in 0..BLOCKS {
        let bytes = file.read(block * BUFFER_ALIGN as u64, BUFFER_ALIGN).await?;
        if let Some(found) = open_block::<4>(&bytes, b"conf", true)
            && newest[0] < found[0]
        {
            newest = found;
        }
    }
    file.flush().await?; // what was found may have been in the cache of the disk only
    let [epoch, primary, incarnation, members] = newest;
    let members = (0..replicas).filter(|replica| members >> replica & 1 == 1).collect();
    let primary = u32::try_from(primary).expect("written from a u32");
    Ok((file, Configuration { epoch, primary, incarnation, members }))
}
