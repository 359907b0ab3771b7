//! Timers by the clock that counts suspend, on an executor whose clock does not.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use ::glommio::timer::Timer;
use engine_types::Instant;

use crate::system;

/// The clock is read again at least this often, so that a deadline which passed during suspend is
/// noticed within this time of waking up, and no sum of the executor's clock overflows.
const STEP_MAX: Duration = Duration::from_secs(10);

/// Completes when the clock has reached an instant (E35).
pub struct Sleep {
    at: Instant,
    timer: Option<Timer>,
}

impl Sleep {
    pub(super) fn until(at: Instant) -> Self {
        Self { at, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = self.at.saturating_since(system::now());
            if left.is_zero() {
                self.timer = None;
                return Poll::Ready(());
            }
            let timer = self.timer.get_or_insert_with(|| Timer::new(left.min(STEP_MAX)));
            ready!(Pin::new(timer).poll(cx));
            self.timer = None; // the executor's clock ran ahead of ours, or a step has ended
        }
    }
}
