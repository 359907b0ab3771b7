//! A backup of a served store, taken by whoever asks for it (M12).
//!
//! Owner: the service, one core. A backup under way pins its snapshot; its pieces are made when
//! they are asked for, outside the executor, so that a slow receiver costs nothing but the pages
//! that the snapshot keeps from being used again. A piece that got lost is asked for again under
//! its number.
//!
//! Invariants
//!   E245 the pieces of one session are those of one snapshot, each once and in order; a session
//!        whose piece failed, that was silent for [`SILENCE_MAX`] or that ended is gone

use core::time::Duration;
use std::collections::BTreeMap;

use engine_runtime::Env;
use engine_types::Instant;
use engine_wire::bodies::{KvBackupReply, KvBackupRequest};
use meta_kv::backup::{Origin, Pieces};
use meta_kv::{EngineSnapshot, KvError};

use crate::remote::Remote;

/// Backups at a time: the daily one, and one by hand.
const SESSIONS_MAX: usize = 2;
/// A receiver that asks for nothing for so long has gone; its snapshot is given back.
const SILENCE_MAX: Duration = Duration::from_secs(60);

struct Session<S> {
    /// Away while a piece is made.
    pieces: Option<Box<Pieces<S>>>,
    /// The piece that was told last, and its number.
    told: Option<(u64, Vec<u8>)>,
    at: Instant,
}

/// Backups under way.
pub(crate) struct Backups<S> {
    held: BTreeMap<u64, Session<S>>,
}

impl<S> Default for Backups<S> {
    fn default() -> Self {
        Self { held: BTreeMap::new() }
    }
}

/// What a request is answered from.
pub(crate) enum Next<S> {
    /// The piece is there already; whether it is the last.
    Again(KvBackupReply, Vec<u8>),
    /// It has to be made.
    Make(Box<Pieces<S>>),
}

fn refused(reason: String) -> KvError {
    KvError::Overloaded { reason }
}

impl<S: EngineSnapshot> Backups<S> {
    /// Opens a session over `snapshot`; its number is `id`.
    pub(crate) fn open(
        &mut self,
        id: u64,
        snapshot: S,
        origin: Origin,
        now: Instant,
    ) -> Result<(), KvError> {
        self.forget(now);
        if SESSIONS_MAX <= self.held.len() {
            return Err(refused(format!("{SESSIONS_MAX} backups are under way")));
        }
        let pieces = Some(Box::new(Pieces::new(snapshot, origin)));
        self.held.insert(id, Session { pieces, told: None, at: now });
        Ok(())
    }

    /// What answers piece `sequence`.
    pub(crate) fn next(
        &mut self,
        id: u64,
        sequence: u64,
        now: Instant,
    ) -> Result<Next<S>, KvError> {
        let Some(session) = self.held.get_mut(&id) else {
            let reason = format!("backup {id:#x} is not known, or was given up");
            return Err(KvError::Failed { reason });
        };
        session.at = now;
        let expected = session.told.as_ref().map_or(0, |(number, _)| number + 1);
        if let Some((number, piece)) = &session.told
            && *number == sequence
            && let Some(pieces) = &session.pieces
        {
            let keys = pieces.progress().keys;
            return Ok(Next::Again(reply(id, sequence, keys, piece), piece.clone()));
        }
        match session.pieces.take() {
            Some(pieces) if expected == sequence => Ok(Next::Make(pieces)),
            pieces => {
                let busy = pieces.is_none();
                session.pieces = pieces;
                let reason = format!("piece {sequence} of backup {id:#x}, expected {expected}");
                Err(if busy { refused(reason) } else { KvError::Failed { reason } })
            }
        }
    }

    /// Keeps a piece that was made, until the next is asked for. An empty one is the end.
    pub(crate) fn made(
        &mut self,
        (id, sequence): (u64, u64),
        pieces: Box<Pieces<S>>,
        piece: Vec<u8>,
        now: Instant,
    ) -> KvBackupReply {
        let reply = reply(id, sequence, pieces.progress().keys, &piece);
        let told = Some((sequence, piece));
        self.held.insert(id, Session { pieces: Some(pieces), told, at: now });
        reply
    }

    /// Ends a session.
    pub(crate) fn close(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// Drops sessions of receivers that have gone.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.held.retain(|_, session| now.saturating_since(session.at) <= SILENCE_MAX);
    }
}

fn reply(session: u64, sequence: u64, keys: u64, piece: &[u8]) -> KvBackupReply {
    let last = u8::from(piece.is_empty());
    KvBackupReply { session, sequence, keys, outcome: 0, last, reserved: [0; 5] }
}

/// How often a piece is asked for before the backup is given up.
const ATTEMPTS_MAX: u32 = 20;
/// Pause between attempts: a server that restarts has lost the session in any case.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

/// Takes a backup of a served store: every piece goes to `write`, in order, with the keys so far.
/// Without the last piece, which verification looks for, it is none.
///
/// # Errors
/// When the store cannot be reached for long, was opened again meanwhile, or `write` fails.
pub async fn fetch<E: Env>(
    env: &E,
    remote: &Remote<E>,
    mut write: impl FnMut(&[u8], u64) -> std::io::Result<()>,
) -> Result<u64, KvError> {
    let (mut session, mut sequence, mut keys) = (0, 0, 0);
    loop {
        let mut attempt = 0;
        let (told, piece) = loop {
            match remote.backup_piece(KvBackupRequest { session, sequence }).await {
                Ok(told) => break told,
                Err(KvError::Unavailable { .. } | KvError::Overloaded { .. })
                    if attempt < ATTEMPTS_MAX =>
                {
                    attempt += 1;
                    env.sleep_until(env.now() + ATTEMPT_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        };
        keys = keys.max(told.keys);
        if told.last != 0 {
            return Ok(keys);
        }
        write(&piece, keys)
            .map_err(|error| KvError::Failed { reason: format!("writing the backup: {error}") })?;
        (session, sequence) = (told.session, told.sequence + 1);
    }
}
