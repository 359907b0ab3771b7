//! Cores that measure when they are asked to: the client's, and one per store.
//!
//! Owner: the main thread, which asks one side after the other (B1) and sleeps meanwhile. A core
//! ends when nobody can ask it any more.

use core::time::Duration;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use engine_runtime::{Env, Sender};
use engine_shard::StoreConfig;

use super::caller::{self, Caller, Peers};
use super::relay;
use super::shape::{Shape, Side, Work};
use crate::meter::{Taken, slice};
use crate::rpc::echo;
use crate::runtime::Main;
use crate::stats::Division;
use crate::store::chunks::Chunks;
use crate::store::device::Place;
use crate::store::subject::Subject as _;
use crate::store::{drive, fio};

/// Nodes apply what they have put off when they are idle for a tenth of a second; within this time
/// they have done it, and disturb nobody who is measured next.
const QUIET: Duration = Duration::from_millis(400);

/// What a core is to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Make so many bytes of data; the answer is of nothing.
    Fill(u64),
    /// Measure a slice.
    Slice(Side, Shape),
}

/// A question and where its answer goes.
pub(super) struct Order {
    pub(super) ask: Ask,
    pub(super) answer: mpsc::Sender<Result<Taken, String>>,
}

/// The way to a core that measures.
pub(super) type Orders = Sender<Order>;

/// The client's core.
pub(super) struct ClientCore {
    pub(super) peers: Peers,
    pub(super) division: Division,
    pub(super) ready: mpsc::Sender<Orders>,
}

impl Main for ClientCore {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let caller = Caller::new(&env, &self.peers).await?;
        let (orders, ordered) = env.mailbox::<Order>(1);
        drop(self.ready.send(orders));
        while let Some(Order { ask, answer }) = ordered.recv().await {
            let done = match ask {
                Ask::Fill(bytes) => caller.fill(bytes).await.map(|()| Taken::nothing()),
                Ask::Slice(side, shape) => self.slice(&env, &caller, side, shape).await,
            };
            drop(answer.send(done));
        }
        Ok(())
    }
}

impl ClientCore {
    async fn slice<E: Env>(
        &self,
        env: &E,
        caller: &Rc<Caller<E>>,
        side: Side,
        shape: Shape,
    ) -> Result<Taken, String> {
        let division = &self.division;
        match side {
            Side::Subject => {
                let small = shape.work == Work::SmallWrite;
                // Twice what waits at most before it is applied: then each pays for another one.
                let backlog = 2 * StoreConfig::default().apply_backlog as u64;
                let ops_before = if small { backlog } else { 0 };
                let flood = |meter| caller::flood(caller.clone(), shape, meter);
                let taken = slice(env, division, ops_before, flood).await?;
                if small {
                    env.sleep_until(env.now() + QUIET).await;
                }
                Ok(taken.into())
            }
            Side::Rpc => {
                let (client, payload) = (caller.rpc.clone(), caller.payload(shape));
                let flood = |meter| relay::flood(client, payload, shape, meter);
                Ok(slice(env, division, 0, flood).await?.into())
            }
            Side::Tcp => {
                let wire = shape.on_wire();
                let link = echo::connect(env, self.peers.tcp, wire).await;
                let links = vec![link.map_err(|error| format!("bare echo: {error}"))?];
                let flood = |meter| echo::flood(links, wire, meter);
                Ok(slice(env, division, 0, flood).await?.into())
            }
            Side::Store | Side::Device => Err("no client measures a device".to_owned()),
        }
    }
}

/// The core of a store alone, full of data.
pub(super) struct StoreCore {
    pub(super) place: Arc<Place>,
    /// Where fio works.
    pub(super) device: Option<Arc<Place>>,
    pub(super) cpu: Option<usize>,
    pub(super) division: Division,
    pub(super) ready: mpsc::Sender<Orders>,
}

impl Main for StoreCore {
    type Output = Result<(), String>;

    async fn run<E: Env>(self, env: E) -> Result<(), String> {
        let chunks: Rc<Chunks<E>> = Chunks::open(&env, &self.place).await?;
        let (orders, ordered) = env.mailbox::<Order>(1);
        drop(self.ready.send(orders));
        while let Some(Order { ask, answer }) = ordered.recv().await {
            let done = match ask {
                Ask::Slice(Side::Store, shape) => self.store(&env, &chunks, shape).await,
                Ask::Slice(Side::Device, shape) => self.device(&env, shape).await,
                Ask::Fill(_) | Ask::Slice(..) => Err("a store has no peers".to_owned()),
            };
            drop(answer.send(done));
        }
        chunks.close().await
    }
}

impl StoreCore {
    async fn store<E: Env>(
        &self,
        env: &E,
        chunks: &Rc<Chunks<E>>,
        shape: Shape,
    ) -> Result<Taken, String> {
        let shape = shape.on_store();
        let ops_before = chunks.ops_put_off(shape.work);
        let flood = |meter| drive::flood(chunks.clone(), shape, meter);
        let taken = slice(env, &self.division, ops_before, flood).await;
        chunks.tidy().await?;
        Ok(taken?.into())
    }

    async fn device<E: Env>(&self, env: &E, shape: Shape) -> Result<Taken, String> {
        let place = self.device.as_ref().ok_or("no device for fio")?;
        let request = fio::Request {
            path: place.path.clone(),
            bytes: place.bytes,
            shape: shape.on_store(),
            // As many as share a group of the journal at this depth.
            writes_per_flush: shape.depth,
            cpu: self.cpu,
            division: self.division,
        };
        let fio::Outcome { slice, latency } = fio::run(env, &request).await?;
        Ok(Taken { slice, latency, all_ops: slice.ops })
    }
}
