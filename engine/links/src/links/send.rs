//! Sending: everything that waits goes into requests, several of which are under way.

use core::future::{Future, poll_fn};
use core::task::Poll;
use std::rc::Rc;

use engine_craq::planted::{Bug, is};
use engine_net::Call;
use engine_runtime::{Env, First, first};

use super::open::{Unconfirmed, confirmed};
use super::{Links, Peer};
use crate::item::Owner;
use crate::limits::RELAY_TIME_MAX;
use crate::link::{Batch, Link};

impl<E: Env, O: Owner<E>> Links<E, O> {
    /// Sends what is queued until the link ends. What is queued within one turn leaves together.
    pub(super) async fn send_all(this: Rc<Self>, peer: Rc<Peer<E>>, link: Rc<Link<E>>) {
        // Connects first, so that no two requests wait for a connection beside each other.
        this.ask(&peer, &link).await;
        loop {
            let mut batch = None;
            let ready = || {
                batch = if link.is_ended() { None } else { link.take_batch() };
                batch.is_some() || link.is_ended()
            };
            link.changed.until(ready).await;
            let Some(batch) = batch else { return };
            let relay = Self::relay(this.clone(), peer.clone(), link.clone(), batch);
            let mut relay = Box::pin(relay);
            // Begun here and not in a task of its own: requests leave, and stand in line for
            // credit, in their order. One that waits behind a later one could wait for ever.
            let begun = poll_fn(|cx| Poll::Ready(relay.as_mut().poll(cx))).await;
            if begun.is_pending() {
                drop(this.env.spawn(relay));
            }
        }
    }

    /// One request, from its queue to its answer.
    async fn relay(this: Rc<Self>, peer: Rc<Peer<E>>, link: Rc<Link<E>>, batch: Batch<E>) {
        let had_payload = batch.has_payload();
        let sent = match first(this.call(&peer, &link, &batch), link.ended()).await {
            First::Left(sent) => sent,
            First::Right(()) => return,
        };
        drop(batch); // its bytes may go before somebody else looks for memory
        match sent {
            Ok(()) => link.answered(had_payload),
            Err(_) if is(Bug::LinkContinued) => link.answered(had_payload),
            Err(why) => {
                this.take_down_of(&peer, &link, &why);
                this.tell();
            }
        }
    }

    async fn call(
        &self,
        peer: &Peer<E>,
        link: &Link<E>,
        batch: &Batch<E>,
    ) -> Result<(), Unconfirmed> {
        let lists = batch.lists(&self.env).await.map_err(engine_net::CallError::from)?;
        let parts = batch.payload(lists);
        let body = self.relay_body(link, batch.sequence, batch.messages());
        let deadline = self.env.now() + RELAY_TIME_MAX;
        let client = peer.client.borrow().clone();
        confirmed(client.call(Call::new(&body, deadline).with_parts(&parts)).await)
    }
}
