//! Clients: they ask a service, and another if it does not answer, with the same tag until there is
//! an answer; and clients that do random operations one after the other.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Call as NetCall, Client, Part, Reply, pooled};
use engine_runtime::Env;
use engine_runtime::sim::SimEnv;
use engine_types::{ChannelId, NodeRole, SessionId, reached};
use engine_wire::bodies::{self, MetaCallReply, MetaCallRequest, MetaReply};
use meta_model::Step;
use meta_protocol::{Answer, Call as _, Caller, LockTold, Operation, Refusal, Request, Tag, op};
use meta_schema::codec::Record;

use super::ground::{Asked, Ground};

/// Time for one attempt: more than a service takes for itself.
const ATTEMPT: Duration = Duration::from_millis(2_500);
/// Requests of one step at most: its own, and the end of a wait.
const SEQS: u64 = 4;
const CHANNEL: ChannelId = ChannelId::new(1);

/// A request of root.
pub(super) fn request(session: SessionId, seq: Option<u64>, operation: Operation) -> Request {
    let tag = seq.map(|seq| Tag { channel: CHANNEL, seq });
    Request { caller: Caller::root(), session, tag, operation }
}

/// Who asks, on behalf of one process.
pub(super) struct Asker {
    pub(super) env: SimEnv,
    pub(super) ground: Rc<Ground>,
    services: Vec<Client<SimEnv>>,
    preferred: Cell<usize>,
}

impl Asker {
    pub(super) fn new(env: &SimEnv, ground: &Rc<Ground>) -> Self {
        let config = ground.net(env, NodeRole::Client);
        let services = &ground.services;
        let services: Vec<_> =
            services.iter().map(|&at| Client::new(env, config.clone(), at)).collect();
        let preferred = Cell::new(0);
        Self { env: env.clone(), ground: ground.clone(), services, preferred }
    }

    /// The time of the world, which is that of every wall.
    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.env.wall().nanos()).expect("worlds are young")
    }

    /// Asks until there is an answer or a refusal, and keeps both for the checks.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, Refusal> {
        let began = self.now();
        let index = {
            let mut asked = self.ground.asked.borrow_mut();
            let request = request.clone();
            asked.push(Asked { request, began, ended: None, found: None, version: None });
            asked.len() - 1
        };
        let (found, version) = self.until_told(request).await;
        let mut asked = self.ground.asked.borrow_mut();
        let kept = &mut asked[index];
        kept.ended = Some(self.now());
        kept.found = Some(found.clone());
        kept.version = version;
        found
    }

    /// The answer, and the version that it read.
    pub(super) async fn until_told(
        &self,
        request: &Request,
    ) -> (Result<Answer, Refusal>, Option<u64>) {
        let count = self.services.len() as u64;
        let pick = |env: &SimEnv| usize::try_from(env.random() % count).expect("few");
        if self.env.random().is_multiple_of(3) {
            self.preferred.set(pick(&self.env));
        }
        for attempt in 0u32.. {
            let service = self.preferred.get();
            let number = self.ground.number();
            if let Some(found) = self.attempt(request, service, number).await {
                if 0 < attempt && request.tag.is_some() {
                    reached!("M11: a request was asked again, and answered");
                }
                return (found, self.ground.versions.borrow_mut().remove(&(service, number)));
            }
            self.preferred.set(pick(&self.env));
            let pause = Duration::from_micros(1_000 + self.env.random() % 30_000);
            self.env.sleep_until(self.env.now() + pause).await;
        }
        unreachable!("attempts do not end")
    }

    async fn attempt(
        &self,
        request: &Request,
        service: usize,
        number: u32,
    ) -> Option<Result<Answer, Refusal>> {
        let caller = Caller { pid: number, ..request.caller.clone() };
        let asked = Request { caller, ..request.clone() };
        let bytes = pooled(&self.env, &asked.encode()).await?;
        let parts = [Part::plain(bytes)];
        let body = MetaCallRequest::default();
        let call = NetCall::new(&body, self.env.now() + ATTEMPT)
            .with_parts(&parts)
            .with_reply_room(request.room());
        let reply: Reply<SimEnv> = self.services[service].call(call).await.ok()?;
        let told = reply.body::<MetaCallReply>().and_then(bodies::to_owned::<MetaCallReply>);
        match told.map(|told| told.outcome()) {
            Ok(0) => Some(Ok(Answer::decode(reply.payload()).ok()?)),
            Ok(_) => Some(Err(Refusal::decode(reply.payload()).ok()?)),
            Err(_) => None,
        }
    }

    pub(super) async fn pause(&self) {
        let pause = Duration::from_micros(self.env.random() % self.ground.setting.pause_us);
        self.env.sleep_until(self.env.now() + pause).await;
    }
}

/// One life of a client that does its steps. Those of a former life that were under way are lost,
/// with the session.
pub(super) async fn run(env: SimEnv, ground: Rc<Ground>, client: u32) {
    let session = ground.client_starts(client);
    let asker = Asker::new(&env, &ground);
    loop {
        let next = ground.steps.borrow_mut()[client as usize].pop_front();
        let Some(step) = next else { break };
        perform(&asker, session, &step).await;
        asker.pause().await;
    }
    ground.finished.borrow_mut().insert(client);
    env.sleep_until(engine_types::Instant::NEVER).await;
}

async fn perform(asker: &Asker, session: SessionId, step: &Step) {
    let ground = &asker.ground;
    let mut request = Request { session, ..ground.binding.borrow().request(step) };
    let first = u64::from(step.id + 1) * SEQS;
    if let Some(tag) = &mut request.tag {
        tag.seq = first;
    }
    let found = asker.ask(&request).await;
    ground.binding.borrow_mut().learn(step, &request, &found);
    // Who waits for two inodes at once is not judged, so that nobody waits for long.
    if let (Operation::SetLock(ask), Ok(Answer::Lock(LockTold::Waiting { ticket }))) =
        (&request.operation, &found)
    {
        let cancel = op::CancelLock { ino: ask.ino, owner: ask.lock.owner, ticket: *ticket };
        let tag = Some(Tag { channel: CHANNEL, seq: first + 1 });
        let request = Request { tag, operation: cancel.into(), ..request.clone() };
        drop(asker.ask(&request).await);
    }
}
