//! All links of one shard.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use engine_net::{NetConfig, Request};
use engine_runtime::Env;
use engine_types::Status;

use crate::item::{Chunklet, Item, Owner, ShardId};

/// All links of one shard.
pub struct Links<E: Env, O: Owner<E>> {
    env: E,
    net: Rc<NetConfig>,
    me: ShardId,
    owner: Weak<O>,
}

impl<E: Env, O: Owner<E>> Links<E, O> {
    /// No links yet.
    pub fn new(env: &E, net: Rc<NetConfig>, me: ShardId, owner: Weak<O>) -> Rc<Self> {
        Rc::new(Self { env: env.clone(), net, me, owner })
    }

    /// Links that are wanted from now on; others are closed. An address may change.
    pub fn want(&self, _peers: BTreeMap<ShardId, SocketAddr>) {
        let _ = (&self.env, &self.net, &self.me, &self.owner);
    }

    /// Whether there is a link, of which the owner has been told.
    pub fn is_up(&self, _peer: ShardId) -> bool {
        false
    }

    /// Says something, after all that was said before; dropped without a link. Only a `Piece` has
    /// bytes. Never waits.
    pub fn send(&self, _to: ShardId, _item: Item, _bytes: Vec<Chunklet<E>>) {}

    /// Bytes of payload that wait to be sent.
    pub fn queued_bytes(&self, _to: ShardId) -> u64 {
        0
    }

    /// Waits until at most `bytes` are queued, or there is no link.
    pub async fn room(&self, _to: ShardId, _bytes: u64) {}

    /// Takes the link down, on both sides; the owner is told soon, by a task.
    pub fn cut(&self, _peer: ShardId) {}

    /// Answers a request of kind `STORAGE_LINK`.
    pub async fn serve_link(self: Rc<Self>, request: Request<E>) {
        request.refuse(Status::Busy).await;
    }

    /// Answers a request of kind `STORAGE_RELAY`.
    pub async fn serve_relay(self: Rc<Self>, request: Request<E>) {
        request.refuse(Status::Busy).await;
    }

    /// Takes all links down for good; nobody is told.
    pub fn close(&self) {}
}
