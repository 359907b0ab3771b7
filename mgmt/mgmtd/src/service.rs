//! Requests to a manager: decoded, done, answered.

use std::rc::Rc;

use engine_net::{Part, Request, Service, pooled};
use engine_runtime::Env;
use engine_types::{NodeRole, Status};
use engine_wire::Kind;
use engine_wire::bodies::MgmtReply;
use meta_kv::Kv;
use mgmt_protocol::{
    Beat, Call, Message, Operation, Question, Refusal, RefusalCode, Register, Registered,
    RoutingAsk, SessionAsk, SessionTold, StatusAsk,
};

use crate::manager::Manager;
use crate::routing::Told;
use crate::work::{Outcome, Work};

impl<E: Env, K: Kv> Service<E> for Manager<E, K> {
    async fn call(self: Rc<Self>, request: Request<E>) {
        match request.kind() {
            Kind::MGMT_STATUS => self.serve::<StatusAsk>(request).await,
            Kind::MGMT_REGISTER => self.serve::<Register>(request).await,
            Kind::MGMT_BEAT => self.serve::<Beat>(request).await,
            Kind::MGMT_ROUTING => self.serve::<RoutingAsk>(request).await,
            Kind::MGMT_SESSION => self.serve::<SessionAsk>(request).await,
            Kind::MGMT_COMMAND => self.serve::<Operation>(request).await,
            Kind::MGMT_QUERY => self.serve::<Question>(request).await,
            _ => request.refuse(Status::UnsupportedKind).await,
        }
    }
}

/// How a manager serves a call.
trait Serve: Call {
    /// The answer as bytes.
    fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        from: NodeRole,
    ) -> impl Future<Output = Result<Told<'_>, Refusal>>;
}

impl Serve for StatusAsk {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        _: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        Ok(Told::of(&manager.status(self)))
    }
}

impl Serve for Register {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        _: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        let Outcome::Registered(node) = manager.written(Work::Register(self.wanted)).await? else {
            panic!("a registration has its own outcome")
        };
        let beat = manager.as_primary(|tenure, _| tenure.beat)?;
        Ok(Told::of(&Registered { node, beat }))
    }
}

impl Serve for Beat {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        _: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        Ok(Told::of(&manager.answer_beat(&self.heartbeat).await?))
    }
}

impl Serve for RoutingAsk {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        _: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        manager.tell_routing(self).await
    }
}

impl Serve for SessionAsk {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        _: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        let told = match self {
            Self::Open(client) => manager.written_session(Work::Open(client)).await?,
            Self::Close(session) => manager.written_session(Work::Close(session)).await?,
            Self::Extend(session) => manager.as_primary(|tenure, now| {
                let timeout = tenure.sessions.extend(session, now);
                let timeout = timeout.map_err(|error| Refusal::from(&error))?;
                Ok::<_, Refusal>(SessionTold::Extended { timeout })
            })??,
            Self::Fenced(session) => manager.as_primary(|tenure, now| {
                let fenced = tenure.sessions.fenced(session);
                let waits = tenure.sessions.waits_for(session, now);
                let waits_for = waits.into_iter().map(|waiting| waiting.node).collect();
                SessionTold::Fenced { fenced, waits_for }
            })?,
            Self::Ended(mut asked) => manager.as_primary(|tenure, _| {
                asked.retain(|&session| tenure.sessions.fenced(session));
                SessionTold::Ended(asked)
            })?,
        };
        Ok(Told::of(&told))
    }
}

impl Serve for Operation {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        from: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        // Everybody who is connected knows the cluster's secret; this is against mistakes.
        if from != NodeRole::Operator {
            let text = format!("commands are for operators, this comes from a {from:?}");
            return Err(Refusal::new(RefusalCode::InvalidArgument, text));
        }
        let command = format!("{self:?}");
        match manager.written(Work::Operate(self)).await {
            Ok(Outcome::Done(done)) => {
                let changed = done.changed;
                tracing::info!(command, changed, "an operator's command is done");
                Ok(Told::of(&done))
            }
            Ok(other) => panic!("a command has its own outcome, not {other:?}"),
            Err(refusal) => {
                // Those that will be repeated are nothing to remember.
                if !refusal.code.is_transient() {
                    tracing::info!(command, %refusal, "an operator's command is refused");
                }
                Err(refusal)
            }
        }
    }
}

impl Serve for Question {
    async fn serve<E: Env, K: Kv>(
        self,
        manager: &Manager<E, K>,
        _: NodeRole,
    ) -> Result<Told<'_>, Refusal> {
        Ok(Told::of(&manager.answer_question(&self)?))
    }
}

impl<E: Env, K: Kv> Manager<E, K> {
    async fn serve<C: Serve>(self: Rc<Self>, mut request: Request<E>) {
        let body = request.body::<C::Ask>().map(drop);
        if let Err(error) = body {
            return request.refuse(error.status()).await;
        }
        let payload = match request.collect_bytes().await {
            Ok(payload) => payload,
            Err(status) => return request.refuse(status).await,
        };
        let told = match C::decode(&payload) {
            Ok(call) => call.serve(&self, request.peer().role).await,
            Err(error) => {
                let text = format!("{}: {error}", C::NAME);
                Err(Refusal::new(RefusalCode::Malformed, text))
            }
        };
        match told {
            Ok(told) => self.tell::<C>(request, 0, &told.bytes).await,
            Err(refusal) => {
                let code = refusal.code.code();
                self.tell::<C>(request, code, &refusal.encode()).await;
            }
        }
    }

    async fn tell<C: Call>(&self, request: Request<E>, outcome: u16, payload: &[u8]) {
        let body = C::Told::with_outcome(outcome);
        if payload.is_empty() {
            return request.respond(&body, &[]).await;
        }
        match pooled(&self.env, payload).await {
            Some(bytes) => request.respond(&body, &[Part::plain(bytes)]).await,
            // Not `Busy`: what was asked for is done.
            None => request.refuse(Status::Internal).await,
        }
    }

    /// Puts work into the queue and waits until it is decided.
    async fn written(&self, work: Work) -> Result<Outcome, Refusal> {
        self.as_primary(|_, _| ())?;
        let queued = self.queue.push(work).ok_or_else(|| {
            let text = "more changes wait to be written than this manager keeps";
            Refusal::new(RefusalCode::Overloaded, text)
        })?;
        self.wake();
        queued.await
    }

    async fn written_session(&self, work: Work) -> Result<SessionTold, Refusal> {
        match self.written(work).await? {
            Outcome::Session(told) => Ok(told),
            other => panic!("a session has its own outcome, not {other:?}"),
        }
    }
}
