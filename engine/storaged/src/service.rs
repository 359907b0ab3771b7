//! What a shard is asked by clients, by other shards, and by whoever looks for it.

use core::ops::Bound;
use std::rc::Rc;

use engine_net::{Request, Service};
use engine_runtime::Env;
use engine_types::{Status, TargetId};
use engine_wire::Kind;
use engine_wire::bodies::storage::{
    StorageQueryReply, StorageQueryRequest, StorageShardsReply, StorageSpaceReply,
    StorageTargetsReply, StorageTargetsRequest, StoreSpace,
};

use crate::admission::Permit;
use crate::fair::Class;
use crate::shard::Shard;

mod read;
mod update;

/// Items of one request: a body of 128 KiB holds about as many.
pub(crate) const ITEMS_MAX: usize = 1024;
/// Chunks in the list of one answer to a query.
const LISTED_MAX: usize = 1024;
/// Targets in one answer: 112 bytes each, within a body.
const TARGETS_LISTED_MAX: usize = 1000;

impl<E: Env> Service<E> for Shard<E> {
    async fn call(self: Rc<Self>, request: Request<E>) {
        match request.kind() {
            Kind::STORAGE_READ => self.read(request).await,
            Kind::STORAGE_UPDATE => self.update(request).await,
            Kind::STORAGE_QUERY => self.query(request).await,
            Kind::STORAGE_RELAY => match self.links() {
                Some(links) => links.serve_relay(request).await,
                None => request.refuse(Status::Busy).await,
            },
            Kind::STORAGE_LINK => match self.links() {
                Some(links) => links.serve_link(request).await,
                None => request.refuse(Status::Busy).await,
            },
            Kind::STORAGE_SHARDS => {
                let shards = self.shards();
                match shards.is_empty() {
                    true => request.refuse(Status::Busy).await,
                    false => request.respond(&StorageShardsReply { shards }, &[]).await,
                }
            }
            Kind::STORAGE_SPACE => {
                let stores = self.spaces();
                request.respond(&StorageSpaceReply { stores }, &[]).await;
            }
            Kind::STORAGE_TARGETS => self.targets_asked(request).await,
            Kind::STORAGE_SCRUB => self.scrub_asked(request).await,
            _ => request.refuse(Status::UnsupportedKind).await,
        }
    }
}

impl<E: Env> Shard<E> {
    /// Waits for the turn of whoever asks (W3); nothing when it has too much in the line.
    async fn admit(&self, request: &Request<E>, cost: u64) -> Option<Permit> {
        let client = request.peer().process.get();
        self.admission.enter(Class::Client, client, cost).await
    }

    fn spaces(&self) -> Vec<StoreSpace> {
        let targets = self.targets.borrow();
        let each = self.homes.iter().map(|home| {
            let space = home.store.space();
            let (remembered, remembered_max) = home.store.remembered();
            let own = targets.values().filter(|target| Rc::ptr_eq(&target.home, home)).count();
            StoreSpace {
                store: home.id.get(),
                total: space.total,
                live: space.live,
                free: space.free,
                index: space.index_bytes,
                index_max: space.index_bytes_max,
                chunks: space.chunks,
                targets: u32::try_from(own).unwrap_or(u32::MAX),
                failed: u8::from(home.store.failure().is_some()),
                damaged: u8::from(home.store.is_damaged()),
                reserved: [0; 2],
                remembered: u32::try_from(remembered).unwrap_or(u32::MAX),
                remembered_max: u32::try_from(remembered_max).unwrap_or(u32::MAX),
            }
        });
        let mut stores: Vec<StoreSpace> = each.collect();
        stores.sort_unstable_by_key(|space| space.store);
        stores
    }

    async fn targets_asked(self: &Rc<Self>, request: Request<E>) {
        let after = match request.body::<StorageTargetsRequest>() {
            Ok(body) => body.after.to_native(),
            Err(error) => return request.refuse(error.status()).await,
        };
        let (targets, more) = {
            let all = self.targets.borrow();
            let behind = (Bound::Excluded(TargetId::new(after)), Bound::Unbounded);
            let behind = || all.range(behind);
            let some = behind().take(TARGETS_LISTED_MAX).map(|(_, target)| target.status());
            (some.collect(), u8::from(TARGETS_LISTED_MAX < behind().count()))
        };
        request.respond(&StorageTargetsReply { targets, more }, &[]).await;
    }

    /// What the chain has committed of a file: the tail knows (R8).
    async fn query(self: &Rc<Self>, request: Request<E>) {
        let asked = match request.body::<StorageQueryRequest>() {
            Ok(body) => engine_wire::bodies::to_owned::<StorageQueryRequest>(body),
            Err(error) => Err(error),
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return request.refuse(error.status()).await,
        };
        let refused = |status: Status, chain_version: u32| StorageQueryReply {
            chain_version,
            status: status.code(),
            ..StorageQueryReply::default()
        };
        let Some(target) = self.target(TargetId::new(asked.target)) else {
            return request.respond(&refused(Status::WrongNode, 0), &[]).await;
        };
        let version = target.version().get();
        let tail = target.is_leased_tail();
        if version != asked.chain_version || !tail || asked.end < asked.first {
            let status = match asked.end < asked.first {
                true => Status::InvalidArgument,
                false if version != asked.chain_version => Status::StaleChain,
                false => Status::NotLeased,
            };
            return request.respond(&refused(status, version), &[]).await;
        }
        let range = asked.first..asked.end;
        let mut reply = StorageQueryReply {
            chain_version: version,
            status: Status::Ok.code(),
            ..StorageQueryReply::default()
        };
        let mut listed = Vec::new();
        if asked.list == 1 {
            listed = list(&target, asked.inode, range.clone());
            let full = LISTED_MAX <= listed.len();
            reply.resume = listed.last().filter(|_| full).map_or(0, |last| last.0 + 1);
        }
        if asked.list == 2 {
            listed = list_behind(&target, asked.inode, asked.first);
        }
        let found = target.home.store.query(target.slot, asked.inode, range).await;
        if version != target.version().get() || !target.is_leased_tail() {
            return request.respond(&refused(Status::NotLeased, version), &[]).await;
        }
        reply.chunks = found.chunks;
        reply.bytes = found.bytes;
        reply.allocated = found.allocated;
        (reply.last_index, reply.last_len) = found.last.unwrap_or_default();
        let each = listed.iter();
        let bytes: Vec<u8> =
            each.flat_map(|row| [row.0, row.1, row.2, row.3]).flat_map(u32::to_le_bytes).collect();
        if bytes.is_empty() {
            return request.respond(&reply, &[]).await;
        }
        match engine_net::pooled(&self.env, &bytes).await {
            Some(bytes) => request.respond(&reply, &[engine_net::Part::plain(bytes)]).await,
            None => request.refuse(Status::Busy).await,
        }
    }
}

/// Index, version, length, allocated bytes; or both halves of an inode, index, length.
type Row = (u32, u32, u32, u32);

/// Chunks of any files behind one chunk: what a check of the whole file system goes through.
fn list_behind<E: Env>(target: &crate::target::Target<E>, inode: u64, index: u32) -> Vec<Row> {
    let inode = engine_types::InodeId::new(inode);
    let behind = target.key(engine_types::ChunkId { inode, index });
    let page = target.home.store.list(target.slot, Some(behind), LISTED_MAX);
    let row = |one: engine_shard::Listed| {
        let id = one.key.chunk;
        #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
        let (low, high) = (id.inode.get() as u32, (id.inode.get() >> 32) as u32);
        (low, high, id.index, one.head.len)
    };
    page.into_iter().map(row).collect()
}

fn list<E: Env>(
    target: &crate::target::Target<E>,
    inode: u64,
    range: core::ops::Range<u32>,
) -> Vec<Row> {
    let chunk = |inode: u64, index: u32| {
        target.key(engine_types::ChunkId { inode: engine_types::InodeId::new(inode), index })
    };
    let mut after = match (range.start.checked_sub(1), inode.checked_sub(1)) {
        (Some(before), _) => Some(chunk(inode, before)),
        (None, Some(before)) => Some(chunk(before, u32::MAX)),
        (None, None) => None,
    };
    let mut rows = Vec::new();
    loop {
        let page = target.home.store.list(target.slot, after, LISTED_MAX);
        let Some(last) = page.last() else { return rows };
        after = Some(last.key);
        for one in &page {
            let id = one.key.chunk;
            if id.inode.get() != inode || range.end <= id.index || LISTED_MAX <= rows.len() {
                return rows;
            }
            let allocated = u32::try_from(one.allocated).unwrap_or(u32::MAX);
            rows.push((id.index, one.head.version.get(), one.head.len, allocated));
        }
    }
}
