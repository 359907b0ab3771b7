//! Who client and server are when both run in this process.

use std::rc::Rc;

use engine_net::{NetConfig, NetLimits};
use engine_types::{ClusterId, Incarnation, NodeId, NodeRole, StoreId};
use engine_wire::handshake::{ClusterSecret, Identity, Local, Versions};

/// Client and server are two threads of one process: there is nothing to keep secret from.
const SECRET: [u8; 32] = [0xeb; 32];
/// The cluster of everything that is measured.
pub(crate) const CLUSTER: ClusterId = ClusterId::new(0xbe4c);

/// The end of a connection that plays `role`.
pub(crate) fn config(role: NodeRole) -> Rc<NetConfig> {
    config_of(role, 0)
}

/// The same for one of several of a role, below 1,000.
pub(crate) fn config_of(role: NodeRole, number: u32) -> Rc<NetConfig> {
    let identity = Identity {
        role,
        node: NodeId::new(role as u32 * 1000 + number),
        process: StoreId::new(u128::from(role as u32 * 1000 + number)),
        incarnation: Incarnation::new(1),
    };
    let secret = ClusterSecret::new(SECRET).expect("not all bytes are zero");
    let local = Local { cluster: CLUSTER, identity, secret, versions: Versions::BUILD };
    Rc::new(NetConfig { local, limits: NetLimits::default() })
}
