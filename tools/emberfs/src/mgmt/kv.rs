//! Tells whoever started a manager or a metadata service when the key-value store behind it does
//! not answer. Both wait for it by themselves: they may be started in any order.

use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;

use engine_net::{Client, NetConfig};
use engine_runtime::Env;

use crate::kv::connect;

/// Time for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Pause between two looks, so that a store that starts is noticed at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks until the store answers; says why it does not, each time for another reason, and that it
/// does then. `role` is the noun of who waits.
pub(crate) async fn watch<E: Env>(
    role: &'static str,
    env: E,
    net: Rc<NetConfig>,
    address: SocketAddr,
) {
    let mut told = None;
    loop {
        let client = Client::new(&env, net.clone(), address);
        let asked = connect::ask(&env, &client, ANSWER_TIME).await;
        match asked.map_err(|error| error.words("it serves no key-value store")) {
            Ok(_) if told.is_some() => {
                return eprintln!("emberfs {role}: the kv at {address} answers");
            }
            Ok(_) => return,
            Err(why) if told.as_ref() != Some(&why) => {
                eprintln!(
                    "emberfs {role}: waiting for the kv at {address}: {why} (hint: is `emberfs kv \
                     serve` running there, with the same cluster file?)"
                );
                told = Some(why);
            }
            Err(_) => {}
        }
        env.sleep_until(env.now() + LOOK_EVERY).await;
    }
}
