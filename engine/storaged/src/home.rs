//! A store of a shard, opened.

use core::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use engine_craq::Space;
use engine_craq::planted::{Bug, is};
use engine_runtime::{Env, yield_now};
use engine_shard::{ChunkStore, StoreConfig};
use engine_store::{Slot, TargetPhase, TargetRecord};
use engine_types::{SessionId, StoreId};

use crate::scrub::Verified;

/// Share of a store, in 1/1000, that stays free for what frees space and for what is in flight
/// (R18), beside what the store itself keeps back.
const RESERVE_PERMILLE: u64 = 10;
/// Least such share: two windows of bulk bytes of one connection.
const RESERVE_BYTES_MIN: u64 = 2 * engine_types::limits::BULK_CREDIT_BYTES_MAX as u64;
/// Of a small store no more than this part of what is there.
const RESERVE_PART: u64 = 8;

/// See the module.
pub(crate) struct Home<E: Env> {
    pub(crate) env: E,
    pub(crate) id: StoreId,
    pub(crate) store: ChunkStore<E>,
    pub(crate) reserve: Space,
    /// How far its sessions were asked for (R16).
    pub(crate) asked_to: Cell<Option<(Slot, SessionId)>>,
    /// Sessions that are to be forgotten, the first of them now.
    forgetting: RefCell<BTreeSet<SessionId>>,
    /// Sessions that were forgotten.
    pub(crate) forgotten: Cell<u64>,
    pub(crate) verified: Verified,
}

impl<E: Env> Home<E> {
    /// Opens a store; gives its targets, each of which has counted this start durably (R5).
    ///
    /// # Errors
    /// In words: it cannot be opened, or cannot count.
    pub(crate) async fn open(
        env: &E,
        path: &Path,
        config: &StoreConfig,
    ) -> Result<(Rc<Self>, Vec<(Slot, TargetRecord)>), String> {
        let opened = ChunkStore::open(env, path, config.clone()).await;
        let (store, opened) = opened.map_err(|error| error.to_string())?;
        let targets = match count_start(&store).await {
            Ok(targets) => targets,
            Err(error) => {
                let _ = store.close().await;
                return Err(error);
            }
        };
        let id = store.store_id();
        let count = targets.len();
        tracing::info!(store = %id, path = %path.display(), targets = count,
            chunks = opened.chunks, damaged = opened.damaged, "store opened");
        let space = store.space();
        let share = (space.total / 1_000 * RESERVE_PERMILLE).max(RESERVE_BYTES_MIN);
        let bytes = share.min(space.total / RESERVE_PART);
        let records = space.index_bytes_max / 1_000 * RESERVE_PERMILLE;
        let reserve = Space { bytes, records };
        let home = Self {
            env: env.clone(),
            id,
            store,
            reserve,
            asked_to: Cell::new(None),
            forgetting: RefCell::default(),
            forgotten: Cell::new(0),
            verified: Verified::default(),
        };
        for (slot, record) in home.store.targets() {
            if record.phase == TargetPhase::Dropping {
                home.drop_slot(slot);
            }
        }
        Ok((Rc::new(home), targets))
    }

    pub(crate) fn is_forgetting(&self, session: SessionId) -> bool {
        self.forgetting.borrow().contains(&session)
    }

    /// Drops what is remembered of a session on all targets (R16), one session after the other in
    /// the background. One that is named for each target is dropped once.
    pub(crate) fn forget(self: &Rc<Self>, session: SessionId) {
        let mut forgetting = self.forgetting.borrow_mut();
        if !forgetting.insert(session) || 1 < forgetting.len() {
            return;
        }
        let home = self.clone();
        drop(self.env.spawn(async move {
            yield_now().await;
            loop {
                let next = home.forgetting.borrow().first().copied();
                let Some(session) = next else { return };
                if let Err(error) = home.store.drop_session(session).await {
                    tracing::warn!(store = %home.id, %session, %error, "still remembered");
                    return home.forgetting.borrow_mut().clear();
                }
                home.forgetting.borrow_mut().remove(&session);
                home.forgotten.set(home.forgotten.get() + 1);
            }
        }));
    }

    /// Removes what a slot holds, in the background; the next start goes on with it.
    pub(crate) fn drop_slot(&self, slot: Slot) {
        let (store, id) = (self.store.clone(), self.id);
        drop(self.env.spawn(async move {
            yield_now().await;
            match store.drop_target(slot).await {
                Ok(()) => tracing::info!(store = %id, %slot, "a target is gone"),
                Err(error) => tracing::error!(store = %id, %slot, %error, "not dropped"),
            }
        }));
    }
}

async fn count_start<E: Env>(store: &ChunkStore<E>) -> Result<Vec<(Slot, TargetRecord)>, String> {
    let mut counted = Vec::new();
    for (slot, record) in store.targets() {
        if record.phase == TargetPhase::Dropping {
            continue; // goes on in the background
        }
        let next = record.incarnation.next().ok_or("its starts cannot be counted any more")?;
        let next = if is(Bug::StartNotCounted) { record.incarnation } else { next };
        let record = TargetRecord { incarnation: next, ..record };
        store.set_target(slot, Some(record)).await.map_err(|error| error.to_string())?;
        counted.push((slot, record));
    }
    Ok(counted)
}
