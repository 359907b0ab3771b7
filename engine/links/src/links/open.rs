//! Opening links, and finding out that they are gone.

use core::time::Duration;
use std::rc::Rc;

use engine_net::{Call, CallError, Request};
use engine_runtime::{Env, First, first, until};
use engine_types::{CoreId, NodeId, Status};
use engine_wire::bodies::storage::{
    StorageLinkReply, StorageLinkRequest, StorageRelayReply, StorageRelayRequest,
};
use engine_wire::bodies::to_owned;

use super::{Links, Peer};
use crate::item::{Owner, ShardId};
use crate::limits::{
    COLLISION_TIME, OPEN_TIME_MAX, PROBE_EVERY, PROBE_TIME_MAX, REOPEN_PAUSE_MAX, REOPEN_PAUSE_MIN,
};
use crate::link::{Link, Names};

/// The number of a request that only asks whether the link stands. It has no turn.
pub(super) const PROBE: u64 = u64::MAX;

/// Doublings of the pause after which it has reached its longest.
const DOUBLINGS_MAX: u32 = 6;

const _: () = assert!(REOPEN_PAUSE_MAX.as_millis() <= REOPEN_PAUSE_MIN.as_millis() << 6);

impl<E: Env, O: Owner<E>> Links<E, O> {
    /// Opens the link to `peer` whenever there is none, as long as it is wanted.
    pub(super) async fn keep_open(this: Rc<Self>, peer: Rc<Peer<E>>) {
        loop {
            let down = || peer.present.borrow().is_none() || !peer.wanted.get();
            peer.changed.until(down).await;
            if !peer.wanted.get() {
                return;
            }
            this.pause(&peer).await;
            if peer.wanted.get() && peer.present.borrow().is_none() {
                this.open(&peer).await;
            }
        }
    }

    /// Waits before the next attempt, unless the peer opens the link meanwhile.
    async fn pause(&self, peer: &Peer<E>) {
        let failures = peer.failures.get();
        if failures == 0 {
            return;
        }
        let longest = REOPEN_PAUSE_MIN * (1 << failures.min(DOUBLINGS_MAX));
        let longest = u64::try_from(longest.min(REOPEN_PAUSE_MAX).as_nanos()).unwrap_or(u64::MAX);
        // Half of it at random: two sides that collide do not collide again.
        let pause = Duration::from_nanos(longest / 2 + self.env.random() % (longest / 2));
        let over = || peer.present.borrow().is_some() || !peer.wanted.get();
        let _opened_or_over =
            until(&self.env, self.env.now() + pause, peer.changed.until(over)).await;
    }

    async fn open(&self, peer: &Rc<Peer<E>>) {
        let own = self.generation();
        if peer.id == self.me {
            let link = self.adopt(peer, Names { own, theirs: own });
            return self.confirm(&link);
        }
        peer.attempt.set(own);
        peer.attempt_since.set(self.env.now());
        let (node, core) = (self.me.node.get(), self.me.core.get());
        let body = StorageLinkRequest { generation: own, node, core, reserved: [0; 10] };
        let client = peer.client.borrow().clone();
        let call = client.call(Call::new(&body, self.env.now() + OPEN_TIME_MAX));
        let superseded = peer.changed.until(|| peer.attempt.get() != own);
        let answer = match first(call, superseded).await {
            First::Left(answer) => answer,
            First::Right(()) => return,
        };
        if peer.attempt.get() != own {
            return; // the peer was faster, or is not wanted any more
        }
        peer.attempt.set(0);
        match answer.map(|reply| reply.body::<StorageLinkReply>().map(|b| b.generation.to_native()))
        {
            Ok(Ok(theirs)) if theirs != 0 => {
                let link = self.adopt(peer, Names { own, theirs });
                self.confirm(&link);
            }
            Ok(Ok(_)) => peer.failures.set(peer.failures.get().saturating_add(1)),
            Ok(Err(error)) => {
                tracing::warn!(me = %self.me, peer = %peer.id, %error, "no answer to an opening");
                peer.failures.set(peer.failures.get().saturating_add(1));
            }
            Err(error) => {
                tracing::debug!(me = %self.me, peer = %peer.id, %error, "link not opened");
                if matches!(error, CallError::DeadlineExceeded { .. }) {
                    self.connect_anew(peer);
                }
                peer.failures.set(peer.failures.get().saturating_add(1));
            }
        }
    }

    /// A name that no link has had, never 0.
    fn generation(&self) -> u128 {
        let mut bytes = [0; 16];
        self.env.random_secret(&mut bytes);
        u128::from_le_bytes(bytes).max(1)
    }

    /// Answers a request of kind `STORAGE_LINK`: a peer opens its link.
    pub async fn serve_link(self: Rc<Self>, request: Request<E>) {
        let body = match request.body::<StorageLinkRequest>() {
            Ok(body) => to_owned::<StorageLinkRequest>(body),
            Err(error) => Err(error),
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => return request.refuse(error.status()).await,
        };
        let from = ShardId { node: NodeId::new(body.node), core: CoreId::new(body.core) };
        if request.peer().node != from.node {
            return request.refuse(Status::WrongNode).await;
        }
        if self.closed.get() {
            return request.refuse(Status::Draining).await;
        }
        let stale = request.is_cancelled() || body.generation == 0;
        let generation = match self.peer(from) {
            Some(peer) if !stale => self.opened_by(&peer, body.generation),
            _ => 0,
        };
        request.respond(&StorageLinkReply { generation }, &[]).await;
    }

    /// The own name of a link that the peer opens; 0 if it is to wait.
    fn opened_by(&self, peer: &Rc<Peer<E>>, theirs: u128) -> u128 {
        // Both open at once: the attempt of the lower one counts, while it goes on and shortly
        // after, when that of the peer may still be on its way. One that goes on for long seems
        // not to reach the peer.
        let attempt = (peer.attempt.get() != 0).then(|| peer.attempt_since.get());
        let present = peer.present.borrow().as_ref().map(|link| link.since);
        let since = attempt.max(present);
        let age = since.map(|since| self.env.now().saturating_since(since));
        if self.me < peer.id && age.is_some_and(|age| age < COLLISION_TIME) {
            engine_types::reached!("E366: both sides open a link at once");
            return 0;
        }
        let own = self.generation();
        drop(self.adopt(peer, Names { own, theirs }));
        own
    }

    /// Asks now and then whether the link stands on the other side, too: a peer that is frozen,
    /// cut off or has started anew does not keep it up.
    pub(super) async fn probe(this: Rc<Self>, peer: Rc<Peer<E>>, link: Rc<Link<E>>) {
        loop {
            link.heard.set(false);
            let _ended = until(&this.env, this.env.now() + PROBE_EVERY, link.ended()).await;
            if link.is_ended() {
                return;
            }
            if link.heard.get() {
                continue;
            }
            this.ask(&peer, &link).await;
        }
    }

    /// Asks the peer whether the link stands there; takes it down if not.
    pub(super) async fn ask(&self, peer: &Peer<E>, link: &Rc<Link<E>>) {
        let body = self.relay_body(link, PROBE, Vec::new());
        let client = peer.client.borrow().clone();
        let call = client.call(Call::new(&body, self.env.now() + PROBE_TIME_MAX));
        let First::Left(answer) = first(call, link.ended()).await else { return };
        match confirmed(answer) {
            Ok(()) => {
                link.heard.set(true);
                self.confirm(link);
            }
            Err(why) => {
                engine_types::reached!("E367: a probe finds that a link is gone");
                if matches!(why, Unconfirmed::Call(CallError::DeadlineExceeded { .. })) {
                    self.connect_anew(peer);
                }
                self.take_down_of(peer, link, &format_args!("probe: {why}"));
                self.tell();
            }
        }
    }

    pub(super) fn relay_body(
        &self,
        link: &Link<E>,
        sequence: u64,
        messages: Vec<engine_wire::bodies::storage::RelayMessage>,
    ) -> StorageRelayRequest {
        StorageRelayRequest {
            generation: link.names.own,
            known: link.names.theirs,
            sequence,
            node: self.me.node.get(),
            core: self.me.core.get(),
            reserved: 0,
            messages,
        }
    }
}

/// Why a request on a link was not taken in.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Unconfirmed {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer is none: {0}")]
    Answer(#[from] engine_wire::WireError),
    #[error("the peer has no such link any more")]
    Unknown,
}

/// Whether the link stands at the peer.
pub(super) fn confirmed<E: Env>(
    answer: Result<engine_net::Reply<E>, CallError>,
) -> Result<(), Unconfirmed> {
    match answer?.body::<StorageRelayReply>()?.unknown {
        0 => Ok(()),
        _ => Err(Unconfirmed::Unknown),
    }
}
