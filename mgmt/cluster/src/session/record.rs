//! Rows of sessions in the KV.
//!
//! ```text
//! row, by session id                              summary
//!   0  version u8 = 1, body length u32              0  version u8 = 1, body length u32
//!   5  client uuid u128                             5  next session u64
//!  21  epoch u32  process u32                      13  floor u64
//!  29  opened: routing version u64                 21  fenced_to: routing version u64
//!  37  state u8: 0 live, 1..5 why it is revoked    29  timeline u32
//!  38  revoked in: routing version u64, 0 if live  33  lifted below: session u64
//!  46  name, host: each length u32, bytes          41  lifted in: routing version u64
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use engine_types::{RoutingVersion, SessionId, StoreId, Timeline};

use super::SessionError;
use crate::fields::{DecodeError, Reader, Writer};

/// Longest name of a client or host: what a host name can have.
pub const NAME_BYTES_MAX: usize = 253;

const VERSION: u8 = 1;
const ROW: &str = "session";
const SUMMARY: &str = "session summary";

/// Who holds a session, for people and for recognising the same client again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Chosen at random by a mount or process; it may outlive restarts.
    pub uuid: StoreId,
    /// Raised by the client when it wants another session than the one it had.
    pub epoch: u32,
    /// Its process.
    pub process: u32,
    /// What the operator calls it; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Where it runs; at most [`NAME_BYTES_MAX`] bytes.
    pub host: String,
}

impl Client {
    pub(super) const fn check(&self) -> Result<(), SessionError> {
        let limit = NAME_BYTES_MAX;
        if limit < self.name.len() {
            let found = self.name.len();
            return Err(SessionError::NameTooLong { field: "name", found, limit });
        }
        if limit < self.host.len() {
            let found = self.host.len();
            return Err(SessionError::NameTooLong { field: "host", found, limit });
        }
        Ok(())
    }
}

/// Why a session ended. The numbers are part of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RevokeReason {
    /// The client said so.
    Closed = 1,
    /// The client was silent for the timeout.
    Expired = 2,
    /// The operator said so.
    Operator = 3,
    /// The client opened another one.
    Superseded = 4,
    /// The KV came back from a backup, which does not know what the session did since.
    Restored = 5,
}

impl RevokeReason {
    /// All of them, in the order of codes.
    pub const ALL: [Self; 5] =
        [Self::Closed, Self::Expired, Self::Operator, Self::Superseded, Self::Restored];
}

/// Whether a session may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It may.
    Live,
    /// Stores that installed `at` refuse it.
    Revoked {
        /// The routing version that says so.
        at: RoutingVersion,
        /// Why.
        reason: RevokeReason,
    },
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Who holds it.
    pub client: Client,
    /// The routing version in force when it was opened.
    pub opened: RoutingVersion,
    /// Whether it may write.
    pub state: SessionState,
}

impl SessionRecord {
    /// Whether it may write.
    pub const fn is_live(&self) -> bool {
        matches!(self.state, SessionState::Live)
    }

    /// For the KV.
    ///
    /// # Panics
    /// If a name is too long.
    pub fn encode(&self) -> Vec<u8> {
        let Client { uuid, epoch, process, name, host } = &self.client;
        assert!(self.client.check().is_ok(), "E299: names are short: {:?}", self.client);
        let mut out = Writer::new(VERSION);
        out.u128(uuid.get());
        out.u32(*epoch);
        out.u32(*process);
        out.u64(self.opened.get());
        let (state, at) = match self.state {
            SessionState::Live => (0, 0),
            SessionState::Revoked { at, reason } => (reason as u8, at.get()),
        };
        out.u8(state);
        out.u64(at);
        out.text(name);
        out.text(host);
        out.finish()
    }

    /// From the KV.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(ROW, bytes)?;
        let uuid = StoreId::new(reader.u128("client")?);
        let (epoch, process) = (reader.u32("epoch")?, reader.u32("process")?);
        let opened = RoutingVersion::new(reader.u64("opened")?);
        let code = reader.u8("state")?;
        let at = reader.u64("revoked in")?;
        let reason = RevokeReason::ALL.into_iter().find(|&reason| reason as u8 == code);
        let state = match (code, reason) {
            (0, _) if at == 0 => SessionState::Live,
            (0, _) => return Err(reader.bad_number("revoked in", at, "0, as it is live")),
            (_, Some(reason)) => SessionState::Revoked { at: RoutingVersion::new(at), reason },
            (_, None) => return Err(reader.bad_number("state", code.into(), "0 to 5")),
        };
        let name = reader.text("name", NAME_BYTES_MAX)?;
        let host = reader.text("host", NAME_BYTES_MAX)?;
        Ok(Self { client: Client { uuid, epoch, process, name, host }, opened, state })
    }
}

/// What is said about all sessions at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// The next id to give out; all above are unused.
    pub next: SessionId,
    /// No session below it is live.
    pub floor: SessionId,
    /// Sessions revoked up to this routing version are fenced.
    pub fenced_to: RoutingVersion,
    /// The timeline that ids and versions above are of.
    pub timeline: Timeline,
    /// All sessions below it, those without a row too, ended when the timeline was raised,
    /// whatever their rows say; 0 if it never was.
    pub lifted_below: SessionId,
    /// The routing version that says so.
    pub lifted_in: RoutingVersion,
}

impl SessionSummary {
    /// Of a new cluster.
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, ..Self::default() }
    }

    /// A row that is older than the raising of the timeline.
    pub(super) fn end_lifted(&self, session: SessionId, record: &mut SessionRecord) {
        if record.is_live() && session < self.lifted_below {
            let (at, reason) = (self.lifted_in, RevokeReason::Restored);
            record.state = SessionState::Revoked { at, reason };
        }
    }

    /// For the KV.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.u64(self.next.get());
        out.u64(self.floor.get());
        out.u64(self.fenced_to.get());
        out.u32(self.timeline.get());
        out.u64(self.lifted_below.get());
        out.u64(self.lifted_in.get());
        out.finish()
    }

    /// From the KV.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(SUMMARY, bytes)?;
        let next = SessionId::new(reader.u64("next session")?);
        let floor = SessionId::new(reader.u64("floor")?);
        let fenced_to = RoutingVersion::new(reader.u64("fenced to")?);
        let timeline = Timeline::new(reader.u32("timeline")?);
        let lifted_below = SessionId::new(reader.u64("lifted below")?);
        let lifted_in = RoutingVersion::new(reader.u64("lifted in")?);
        Ok(Self { next, floor, fenced_to, timeline, lifted_below, lifted_in })
    }
}

#[cfg(test)]
mod tests;
