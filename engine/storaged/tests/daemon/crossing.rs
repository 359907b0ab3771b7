//! Chains that cross, under more load than the memory of their nodes holds (W2).

use core::time::Duration;
use std::rc::Rc;

use engine_net::{Call, Client, Part};
use engine_runtime::sim::SimEnv;
use engine_runtime::{Bytes, Env, all};
use engine_types::{ChainId, Status, TargetId};
use engine_wire::bodies;
use engine_wire::bodies::storage::{
    StorageUpdateReply, StorageUpdateRequest, UPDATE_WRITE, UpdateItem,
};

use crate::SHIFT;
use crate::ground::{Caller, Ground};

/// Pool of a node: what a small one has, and a quarter of what the writers send at once.
const POOL_BYTES: usize = 32 << 20;
/// Writers of one chain, each with a channel and a chunk of its own.
const WRITERS: u32 = 24;
const ROUNDS: u64 = 3;

fn item(chain: ChainId, writer: u32, seq: u64, len: u32) -> UpdateItem {
    UpdateItem {
        inode: chain.get().into(),
        index: writer,
        session: u64::from(chain.get()) + 1,
        channel: writer,
        seq,
        len,
        bytes: len,
        change: UPDATE_WRITE,
        size_shift: SHIFT,
        ..UpdateItem::default()
    }
}

/// Writes one chunk again and again; every write is sent once and must be done.
async fn write(
    caller: Rc<Caller>,
    client: Rc<Client<SimEnv>>,
    (chain, writer): (ChainId, u32),
    data: Bytes<<SimEnv as Env>::Memory>,
) {
    for seq in 1..=ROUNDS {
        let (members, chain_version) = caller.members(chain);
        let len = u32::try_from(data.len()).unwrap();
        let target = members[0].get();
        let item = UpdateItem { target, chain_version, ..item(chain, writer, seq, len) };
        let body = StorageUpdateRequest { items: vec![item] };
        let parts = [Part::plain(data.clone())];
        let call = Call::new(&body, caller.env.now() + Duration::from_secs(40));
        let reply = client.call(call.with_parts(&parts)).await.unwrap();
        let told = reply.body::<StorageUpdateReply>().unwrap();
        let told = bodies::to_owned::<StorageUpdateReply>(told).unwrap().items[0];
        let status = Status::from_code(told.status);
        assert_eq!((status, u64::from(told.version)), (Status::Ok, seq), "{chain}, {writer}");
    }
}

/// Every node is head, middle and tail of some chain. Were a position to wait for its own kind
/// further on, all would wait for each other, until a deadline cuts a link and replicas leave.
#[test]
fn chains_in_a_ring_make_progress_when_there_is_more_than_memory_holds() {
    let orders: [&[usize]; 5] = [&[0, 1, 2], &[1, 2, 0], &[2, 0, 1], &[0, 1], &[1, 0]];
    for (seed, bytes) in [(30, 1 << 20), (31, 48 << 10)] {
        let ground = Ground::with_pools(seed, 3, POOL_BYTES);
        let chains = orders.map(|order| ground.chain_of(order));
        let took = ground.act(move |caller| async move {
            for (chain, order) in chains.into_iter().zip(orders) {
                caller.until_serving(chain, order.len()).await;
                let first = UpdateItem { inode: 1000, ..item(chain, 63, 1, 1) };
                caller.update_surely(chain, first, &[1]).await;
            }
            let versions = chains.map(|chain| caller.members(chain).1);
            let data = engine_net::pooled(&caller.env, &vec![7; bytes]).await.unwrap();
            let heads: Vec<TargetId> = chains.map(|chain| caller.members(chain).0[0]).to_vec();
            let clients = heads.into_iter().map(|head| Rc::new(caller.client(head)));
            let clients: Vec<_> = clients.collect();
            let began = caller.env.now();
            let each = chains.into_iter().zip(clients).flat_map(|(chain, client)| {
                let (caller, data) = (caller.clone(), data.clone());
                (0..WRITERS).map(move |writer| {
                    write(caller.clone(), client.clone(), (chain, writer), data.clone())
                })
            });
            all(each).await;
            assert_eq!(chains.map(|chain| caller.members(chain).1), versions, "all stayed");
            caller.env.now().saturating_since(began)
        });
        println!("{bytes} bytes: {took:?}");
        assert!(took < Duration::from_secs(20), "something waited for a time-out: {took:?}");
        assert!(ground.ended().is_empty(), "{:?}", ground.ended());
    }
}
