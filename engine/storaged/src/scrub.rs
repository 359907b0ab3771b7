//! Verifies stores, pass after pass, and has what is damaged repaired (S16).
//!
//! A pass goes through all chunks of a store at a steady rate. An operator begins one at any time;
//! a store that is not verified by itself, for its rate is 0, is verified then.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use engine_net::Request;
use engine_runtime::{Env, Notify, first};
use engine_shard::{ScrubLimits, ScrubProgress};
use engine_types::{NodeRole, RoutingVersion, Status};
use engine_wire::bodies::storage::{StorageScrubReply, StorageScrubRequest, StoreScrub};

use crate::fair::Class;
use crate::home::Home;
use crate::role::Settings;
use crate::shard::Shard;
use crate::target::add;

/// What a pass takes of the shard at once: it reads piece by piece, at its own rate.
const SCRUB_COST: u64 = 4;
/// Pause between two passes of a scrub, and before one that failed is begun anew.
const SCRUB_PAUSE: Duration = Duration::from_secs(60);
/// Chunks between two looks at what was found, so that it is repaired soon.
const STEP_CHUNKS: u64 = 64;

/// What was verified and repaired of a store in this start.
#[derive(Default)]
pub(crate) struct Verified {
    bytes: Cell<u64>,
    chunks: Cell<u64>,
    passes: Cell<u64>,
    damaged: Cell<u64>,
    /// Blocks that another replica replaced, and those that none did.
    pub(crate) repaired: Cell<u64>,
    pub(crate) failed: Cell<u64>,
    /// Chunks of the pass that is under way.
    under_way: Cell<Option<u64>>,
    /// An operator wants a pass from the first chunk on.
    wanted: Cell<bool>,
    asked: Notify,
}

impl Verified {
    fn want_pass(&self) {
        self.wanted.set(true);
        self.asked.notify();
    }

    async fn until_wanted(&self) {
        self.asked.until(|| self.wanted.get()).await;
    }

    fn note(&self, progress: &ScrubProgress) {
        add(&self.bytes, progress.bytes);
        add(&self.chunks, progress.chunks);
        add(&self.damaged, progress.damage.len() as u64);
        self.under_way.set(self.under_way.get().map(|chunks| chunks + progress.chunks));
    }

    fn status(&self, store: u128) -> StoreScrub {
        StoreScrub {
            store,
            bytes: self.bytes.get(),
            chunks: self.chunks.get(),
            passes: self.passes.get(),
            damaged: self.damaged.get(),
            repaired: self.repaired.get(),
            failed: self.failed.get(),
            under_way: self.under_way.get().filter(|_| !self.wanted.get()).unwrap_or(0),
            running: u8::from(self.wanted.get() || self.under_way.get().is_some()),
            reserved: [0; 7],
        }
    }
}

impl<E: Env> Shard<E> {
    /// Verifies everything of a store, again and again, and repairs what is damaged; ends when the
    /// store has failed.
    pub(crate) async fn scrub(self: Rc<Self>, home: Rc<Home<E>>, bytes_per_second: u64) {
        // Who could replace what is damaged is known from routing info alone.
        let known = || self.routing().version != RoutingVersion::default();
        self.routing_changed.until(known).await;
        let rate = match bytes_per_second {
            0 => Settings::default().scrub_bytes_per_second,
            rate => rate,
        };
        loop {
            if bytes_per_second == 0 {
                home.verified.until_wanted().await;
            }
            home.verified.under_way.set(Some(0));
            let whole = self.pass(&home, rate).await;
            home.verified.under_way.set(None);
            if !whole {
                return;
            }
            add(&home.verified.passes, 1);
            let pause = self.env.sleep_until(self.env.now() + SCRUB_PAUSE);
            first(home.verified.until_wanted(), pause).await;
        }
    }

    /// One pass; false when the store has failed.
    async fn pass(self: &Rc<Self>, home: &Rc<Home<E>>, bytes_per_second: u64) -> bool {
        let verified = &home.verified;
        let mut after = None;
        loop {
            if verified.wanted.replace(false) {
                after = None;
                verified.under_way.set(Some(0));
            }
            let limits = ScrubLimits { bytes_per_second, chunks: Some(STEP_CHUNKS) };
            let permit = self.admission.enter(Class::Scrub, home.id.get(), SCRUB_COST).await;
            let passed = home.store.scrub(after, limits, |_| ()).await;
            drop(permit);
            let Ok(progress) = passed else {
                if home.store.failure().is_some() {
                    return false;
                }
                self.env.sleep_until(self.env.now() + SCRUB_PAUSE).await;
                continue;
            };
            verified.note(&progress);
            self.repair_all(home, &progress).await;
            after = progress.after;
            if progress.finished && !verified.wanted.get() {
                return true;
            }
        }
    }

    async fn repair_all(self: &Rc<Self>, home: &Rc<Home<E>>, progress: &ScrubProgress) {
        for damage in &progress.damage {
            let targets = self.all_targets();
            let mut own = targets.iter().filter(|target| Rc::ptr_eq(&target.home, home));
            if let Some(target) = own.find(|target| target.slot == damage.key.slot) {
                let version = (damage.key.chunk, damage.version);
                self.repair(target, version, damage.block).await;
            }
        }
    }

    /// An operator asks what was verified, and may begin a pass.
    pub(crate) async fn scrub_asked(&self, request: Request<E>) {
        let (store, begin) = match request.body::<StorageScrubRequest>() {
            Ok(body) => (body.store.to_native(), body.begin == 1),
            Err(error) => return request.refuse(error.status()).await,
        };
        if begin && request.peer().role != NodeRole::Operator {
            return request.refuse(Status::InvalidArgument).await;
        }
        let wanted = |home: &&Rc<Home<E>>| store == 0 || store == home.id.get();
        let mut stores = Vec::new();
        for home in self.homes.iter().filter(wanted) {
            if begin {
                tracing::info!(store = %home.id, "an operator wants it verified");
                home.verified.want_pass();
            }
            stores.push(home.verified.status(home.id.get()));
        }
        stores.sort_unstable_by_key(|scrub| scrub.store);
        request.respond(&StorageScrubReply { stores }, &[]).await;
    }
}
