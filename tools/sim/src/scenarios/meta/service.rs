//! A metadata service: `Files` and its collector as they ship, behind a small server of META_CALL,
//! over the served store, with trouble injected between the two.

use core::time::Duration;
use std::rc::Rc;

use engine_net::{Part, Request as Call, Server, Service, pooled};
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ChainTableVersion, NodeRole, Status, reached};
use engine_wire::Kind;
use engine_wire::bodies::{MetaCallReply, MetaReply};
use meta_kv::{Faults, Faulty, KvError, OwnKv};
use meta_kvd::Remote;
use meta_metad::files::Files;
use meta_metad::mkfs::OpenError;
use meta_metad::{CallError, Collector, DeletionSettings, Halt, Store, Table, Tables, mkfs};
use meta_protocol::{Answer, Operation, Request, op};
use meta_schema::TruncateEpoch;
use meta_schema::codec::Record;

use super::bug::Bug;
use super::chunks::{CHAINS, MapChunks, TABLE};
use super::desk::{Desk, Watch};
use super::ground::{AUDITOR, CLUSTER, Ground, PORT, layout};

pub(super) type MetaKv = OwnKv<SimEnv, Desk<Faulty<SimEnv, Remote<SimEnv>>>>;
type MetaFiles = Files<SimEnv, MetaKv, MapChunks>;

/// Time for one request: callers ask again, elsewhere.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Pause before the store is asked again at the start.
const START_PAUSE: Duration = Duration::from_millis(50);

struct Serving {
    env: SimEnv,
    ground: Rc<Ground>,
    number: usize,
    files: MetaFiles,
    watch: Rc<Watch>,
}

/// The settings of small worlds: short waits.
fn removal() -> DeletionSettings {
    DeletionSettings {
        session_wait: Duration::from_millis(200),
        chunk_wait: Duration::from_millis(300),
        idle: Duration::from_millis(200),
        ..DeletionSettings::default()
    }
    .unlimited()
}

/// One life of the service `number`.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>, number: usize) {
    let session = ground.service_starts(number);
    let remote = Remote::new(&env, ground.net(&env, NodeRole::Meta), ground.kv);
    let faulty = Faulty::new(env.clone(), remote, Faults::default());
    ground.faulty(number, faulty.clone());
    let watch = Rc::new(Watch::default());
    let kv = OwnKv::new(env.clone(), Desk::new(faulty, ground.bug, &watch));
    let superblock = loop {
        match mkfs::open(&env, &kv, CLUSTER, layout()).await {
            Ok(superblock) => break superblock,
            Err(OpenError::Store(error)) => {
                tracing::debug!(%error, "the store does not answer yet");
                env.sleep_until(env.now() + START_PAUSE).await;
            }
            Err(error) => return ground.found(format!("a service cannot start: {error}")),
        }
    };
    let store = Store::new(&env, &kv, superblock);
    let table = Table { version: ChainTableVersion::new(1), chains: CHAINS };
    store.set_tables(Tables::from([(TABLE, table)]));
    let files = Files::new(&env, store, &MapChunks::new(&env, session, &ground.shelf));
    let _collector = Collector::start(&files, removal());
    let listener = match env.listen(([0, 0, 0, 0], PORT).into()) {
        Ok(listener) => listener,
        Err(error) => return ground.found(format!("a service cannot listen: {error}")),
    };
    let serving =
        Rc::new(Serving { env: env.clone(), ground: ground.clone(), number, files, watch });
    let _server = Server::start(&env, ground.net(&env, NodeRole::Meta), listener, serving);
    env.sleep_until(engine_types::Instant::NEVER).await;
}

impl Service<SimEnv> for Serving {
    async fn call(self: Rc<Self>, mut call: Call<SimEnv>) {
        if call.kind() != Kind::META_CALL {
            return call.refuse(Status::UnsupportedKind).await;
        }
        let payload: Vec<u8> = match call.collect().await {
            Ok(segments) => segments.iter().flat_map(|s| s.bytes.iter().copied()).collect(),
            Err(status) => return call.refuse(status).await,
        };
        let mut request: Request = match Request::decode(&payload) {
            Ok(request) => request,
            Err(error) => {
                self.ground.found(format!("a request is malformed: {error}"));
                return call.refuse(Status::Malformed).await;
            }
        };
        let number = request.caller.pid;
        if self.ground.bug == Some(Bug::OldHintRaises) {
            self.forge(&mut request).await;
        }
        let done = self.watch.run(number, self.files.call(&request, TIME_MAX)).await;
        if let Some(version) = self.watch.take(number) {
            self.ground.versions.borrow_mut().insert((self.number, number), version);
        }
        let (outcome, told) = match done {
            Ok(answer) => (0, answer.encode()),
            Err(CallError::Halted(Halt::Refused(refusal))) => {
                (refusal.errno.code(), refusal.encode())
            }
            Err(error) => {
                if matches!(error, CallError::Store(KvError::UnknownResult { .. })) {
                    reached!("M11: a caller was told of an unknown result");
                }
                return call.refuse(Status::Internal).await;
            }
        };
        let body = MetaCallReply::with_outcome(outcome);
        match pooled(&self.env, &told).await {
            Some(bytes) => call.respond(&body, &[Part::plain(bytes)]).await,
            None => call.refuse(Status::Busy).await,
        }
    }
}

impl Serving {
    /// A planted bug: whoever tells a length is believed, whatever was cut since (M3).
    async fn forge(&self, request: &mut Request) {
        let (ino, hint) = match &mut request.operation {
            Operation::Sync(op::Sync { ino, hint: Some(hint), .. })
            | Operation::Close(op::Close { ino, hint: Some(hint), .. }) => (*ino, hint),
            _ => return,
        };
        let stat = super::user::request(AUDITOR, None, op::Stat { ino }.into());
        let asked = Box::pin(self.files.call(&stat, TIME_MAX));
        if let Ok(Answer::Attr(attr)) = asked.await {
            hint.truncate_epoch = TruncateEpoch::new(attr.truncate_epoch.get());
        }
    }
}
