//! Where the routing info comes from.

use std::rc::Rc;

use engine_runtime::{Env, Notify};
use engine_types::RoutingInfo;
use mgmt_client::Follower;

/// A source of routing info. Versions never go back (E334).
pub trait Routing: 'static {
    /// The newest that is known. It is held for moments only: who follows it changes it in place
    /// when nobody else holds it.
    fn current(&self) -> Rc<RoutingInfo>;

    /// Told whenever [`current`](Self::current) has changed.
    fn changed(&self) -> Notify;

    /// Somebody has heard of a newer version, or that this one is wrong: ask at once. Called often.
    fn refresh(&self);
}

impl<E: Env> Routing for Rc<Follower<E>> {
    fn current(&self) -> Rc<RoutingInfo> {
        self.routing()
    }

    fn changed(&self) -> Notify {
        Follower::changed(self).clone()
    }

    fn refresh(&self) {
        self.nudge();
    }
}
