//! How much room the stores of a shard have: what `statfs` is made of.
//!
//! Asked of the shard itself, once, within the caller's time: it is a figure for people, and who
//! wants it has an older one. It stays outside of the window, and is no sign of the shard's health.

use engine_net::Call;
use engine_runtime::{Env, until};
use engine_types::{CoreId, Instant, NodeId, StoreId};
use engine_wire::bodies;
use engine_wire::bodies::storage::{StorageSpaceReply, StorageSpaceRequest, StoreSpace};

use crate::Storage;
use crate::drive::Failed;

/// Why a shard's room is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{core} of {node} does not say how much room it has: {why}")]
pub struct SpaceError {
    /// The node.
    pub node: NodeId,
    /// Its core.
    pub core: CoreId,
    /// In words.
    pub why: String,
}

/// Room of one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreRoom {
    /// Bytes that hold data.
    pub live: u64,
    /// Bytes that updates may still take: the reserve is counted out.
    pub free: u64,
    /// Bytes of its index that are free.
    pub index_free: u64,
    /// It is out of service.
    pub failed: bool,
}

impl<E: Env> Storage<E> {
    /// Room of the stores of a shard, by `by`.
    ///
    /// # Errors
    /// [`SpaceError`]: it is not known, does not answer, or not in time.
    pub async fn space(
        &self,
        node: NodeId,
        core: CoreId,
        by: Instant,
    ) -> Result<Vec<(StoreId, StoreRoom)>, SpaceError> {
        let env = &self.inner().env;
        let failed = |why: String| SpaceError { node, core, why };
        match until(env, by, self.ask_space(node, core, by)).await {
            Ok(Ok(told)) => Ok(told.stores.iter().map(room).collect()),
            Ok(Err(error)) => Err(failed(format!("{} {}", error.status, error.why))),
            Err(_) => Err(failed("no answer in time".to_owned())),
        }
    }

    async fn ask_space(
        &self,
        node: NodeId,
        core: CoreId,
        by: Instant,
    ) -> Result<StorageSpaceReply, Failed> {
        let inner = self.inner();
        let shard = {
            let routing = inner.routing.current();
            let info = routing.nodes.get(&node);
            let info = info.ok_or_else(|| Failed::unreachable("a node that is not known"))?;
            inner.shards.shard(node, info, core)
        };
        let client = inner.shards.client(&shard, by).await?;
        let asked = StorageSpaceRequest::default();
        let reply = match client.call(Call::new(&asked, by)).await {
            Ok(reply) => reply,
            Err(error) => {
                let error = Failed::from(error);
                shard.lost(error.status);
                return Err(error);
            }
        };
        let told =
            reply.body::<StorageSpaceReply>().and_then(bodies::to_owned::<StorageSpaceReply>);
        told.map_err(Failed::malformed)
    }
}

fn room(space: &StoreSpace) -> (StoreId, StoreRoom) {
    let &StoreSpace { store, live, free, index, index_max, failed, .. } = space;
    let index_free = index_max.saturating_sub(index);
    (StoreId::new(store), StoreRoom { live, free, index_free, failed: failed != 0 })
}
