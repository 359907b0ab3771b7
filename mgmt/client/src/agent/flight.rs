//! A heartbeat on its way, and what its answer brings.

use core::net::SocketAddr;
use std::rc::Rc;

use engine_runtime::{CancelToken, Env, First, first};
use engine_types::{Instant, Timeline};
use mgmt_cluster::heartbeat::{Heartbeat, HeartbeatAnswer, Move};
use mgmt_cluster::lease::{Grant, STORAGE_LEASE_MAX};
use mgmt_protocol::{Beat, BeatAnswer, Refusal, RefusalCode};

use super::round::Verdict;
use super::{Agent, AgentEnd, Concern, NodeState, Report};
use crate::managers::ManagerError;

/// Heartbeats in flight: a silent manager per quarter of a second, for a lease of two seconds. The
/// oldest is given up for a new one.
const FLIGHTS_MAX: usize = 8;

impl<E: Env, S: NodeState> Agent<E, S> {
    /// Sends a heartbeat to `address`; gives its sequence.
    pub(super) fn send(self: &Rc<Self>, address: SocketAddr) -> u64 {
        let env = self.managers.env();
        let sent = env.now(); // E331: before the report
        let Report { timeline, drained, shards, targets } = self.state.report();
        let sequence = self.sequence.get() + 1; // E336
        self.sequence.set(sequence);
        self.last_sent.set(sent);
        let node = self.node.get().expect("heartbeats are sent by who is registered");
        let incarnation = self.wanted.incarnation;
        let heartbeat =
            Heartbeat { node, incarnation, sequence, sent, timeline, drained, shards, targets };
        let given_up = CancelToken::default();
        {
            let mut flights = self.flights.borrow_mut();
            if FLIGHTS_MAX <= flights.len() {
                engine_types::reached!("E336: the oldest heartbeat in flight is given up");
                let (_, oldest) = flights.pop_first().expect("there are as many as the limit");
                oldest.cancel();
            }
            flights.insert(sequence, given_up.clone());
        }
        // Later an answer grants nothing any more.
        let deadline = sent + self.lease.get().max(self.beat.get());
        let agent = self.clone();
        drop(env.spawn(async move {
            let beat = Beat { heartbeat };
            let asked = agent.managers.call_at(address, &beat, deadline);
            if let First::Right(told) = first(given_up.cancelled(), asked).await {
                agent.flights.borrow_mut().remove(&sequence);
                agent.landed(address, sequence, sent, told);
            }
        }));
        sequence
    }

    /// Gives up every heartbeat in flight: nothing is told to the node any more.
    pub(super) fn give_up_flights(&self) {
        for (_, flight) in self.flights.take() {
            flight.cancel();
        }
    }

    fn landed(
        self: &Rc<Self>,
        address: SocketAddr,
        sequence: u64,
        sent: Instant,
        told: Result<BeatAnswer, ManagerError>,
    ) {
        let verdict = match told {
            Ok(told) if (told.answer.sequence, told.answer.sent) == (sequence, sent) => {
                self.answered(address, told);
                Some(Verdict::Heard)
            }
            Ok(told) => {
                let (found, at) = (told.answer.sequence, told.answer.sent);
                let expected = format!("{sequence} sent at {sent}");
                tracing::warn!(%address, expected, "answer to heartbeat {found} sent at {at}");
                Some(Verdict::Unheard { hint: None })
            }
            Err(ManagerError::Refused(refusal)) => self.refused(address, &refusal),
            Err(ManagerError::Closed) => {
                self.concern(Concern::End(AgentEnd::Stopped));
                None
            }
            Err(error) => {
                tracing::debug!(%error, sequence, "heartbeat not answered");
                Some(Verdict::Unheard { hint: None })
            }
        };
        if let Some(verdict) = verdict {
            self.verdicts.borrow_mut().push((sequence, verdict));
            self.event.notify();
        }
    }

    /// A manager took a heartbeat in. What it grants counts whenever it arrives; what else it says
    /// only if nothing newer was heard.
    fn answered(self: &Rc<Self>, address: SocketAddr, told: BeatAnswer) {
        let BeatAnswer { answer, beat, config, by_standby } = told;
        self.grant(&answer);
        if by_standby {
            engine_types::reached!("L5: a standby renewed the leases of a node");
            self.standby.set(Some(address));
            return;
        }
        if answer.sequence < self.heard.get() {
            return;
        }
        self.heard.set(answer.sequence);
        self.heard_changed.notify();
        self.managers.found_primary(address);
        self.primary.set(Some(address));
        self.set_beat(beat);
        if let Some(fenced) = &answer.fenced {
            tracing::warn!(%fenced, "heartbeat answered without leases");
        }
        if !answer.unknown.is_empty() {
            tracing::warn!(targets = ?answer.unknown, "reported targets are not this node's");
        }
        if self.config.replace(Some(config)) != Some(config) {
            self.state.configured(config);
        }
        if !answer.moves.is_empty() {
            self.install(answer.timeline, answer.moves);
        }
    }

    fn grant(&self, answer: &HeartbeatAnswer) {
        let now = self.managers.env().now();
        let (sent, lasts) = (answer.sent, answer.lease);
        self.lease.set(lasts.min(STORAGE_LEASE_MAX));
        for lease in &answer.leases {
            let (target, incarnation, version) = (lease.target, lease.incarnation, lease.version);
            self.state.granted(Grant { target, incarnation, version, sent, lasts }, now);
        }
    }

    /// Hands moves to the node, one answer's at a time; the newest waits, those between are left
    /// out, as each names all that is to be installed (E338).
    fn install(self: &Rc<Self>, timeline: Timeline, moves: Vec<Move>) {
        *self.to_install.borrow_mut() = Some((timeline, moves));
        if self.installing.replace(true) {
            return;
        }
        let agent = self.clone();
        drop(self.managers.env().spawn(async move {
            loop {
                let next = agent.to_install.take();
                let Some((timeline, moves)) = next else {
                    return agent.installing.set(false);
                };
                if agent.state.install(timeline, moves).await {
                    agent.beat_now();
                }
            }
        }));
    }

    fn refused(&self, address: SocketAddr, refusal: &Refusal) -> Option<Verdict> {
        match refusal.code {
            RefusalCode::NotPrimary => {
                let named = self.managers.not_primary(address, refusal.primary.as_ref());
                return Some(Verdict::Unheard { hint: named.first().copied() });
            }
            // It lost a race against the one after it.
            RefusalCode::Stale => return None,
            RefusalCode::OtherStart => self.concern(Concern::OtherStart),
            RefusalCode::Unregistered => self.concern(Concern::End(AgentEnd::Unregistered)),
            RefusalCode::ClockAway => {
                let why = refusal.message.clone();
                self.concern(Concern::End(AgentEnd::ClockAway { why }));
            }
            RefusalCode::Disabled => {
                tracing::warn!(%refusal, "heartbeat refused");
                return Some(Verdict::Heard); // no other manager says anything else
            }
            _ => {
                tracing::debug!(%address, %refusal, "heartbeat refused");
                return Some(Verdict::Unheard { hint: None });
            }
        }
        None
    }
}
