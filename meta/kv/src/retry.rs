//! The loop around a transaction.

use core::time::Duration;

use crate::api::{Abort, Kv, Policy, Transaction, TransactionOptions};
use crate::error::{KvError, KvRetry};

#[cfg(test)]
mod tests;

/// Runs `body` in a transaction and commits it; again from the start, after a pause, as long as
/// the store's answer allows and `policy` has time and attempts left.
///
/// The body may run many times; it should have no effect beside the transaction. Where a result
/// may be unknown it has to recognise its own earlier commit (M9, M11), and the policy has to say
/// so ([`Policy::idempotent`]): without it, an unknown result ends the loop.
///
/// # Errors
/// The last answer of the store, or the body's own decision.
pub async fn transact<K: Kv, T, E>(
    kv: &K,
    policy: &Policy,
    body: impl AsyncFn(&K::Transaction) -> Result<T, Abort<E>>,
) -> Result<T, Abort<E>> {
    let began = kv.now();
    let mut attempt = 0;
    loop {
        let left = policy.time_max.saturating_sub(kv.now().saturating_since(began));
        let timeout = policy.options.timeout.min(left);
        let transaction = kv.begin(TransactionOptions { timeout, ..policy.options });
        let error = match body(&transaction).await {
            Ok(value) => match transaction.commit().await {
                Ok(_) => return Ok(value),
                Err(error) => error,
            },
            Err(Abort::Kv(error)) => error,
            Err(own @ Abort::Own(_)) => return Err(own),
        };
        attempt += 1;
        let pause = pause(policy, attempt, kv.random());
        let at = kv.now() + pause;
        let in_time = at.saturating_since(began) <= policy.time_max;
        if !repeatable(&error, policy.idempotent) || policy.attempts_max <= attempt || !in_time {
            return Err(Abort::Kv(error));
        }
        tracing::debug!(attempt, ?pause, %error, "transaction runs again");
        kv.sleep_until(at).await;
    }
}

fn repeatable(error: &KvError, idempotent: bool) -> bool {
    match error.retry() {
        KvRetry::Again => true,
        KvRetry::IfIdempotent => idempotent,
        KvRetry::Never => false,
    }
}

/// The pause before the next attempt: doubled per attempt, half of it random, so that those who
/// conflicted once do not meet again.
fn pause(policy: &Policy, attempt: u32, random: u64) -> Duration {
    let doubled = policy.pause_min.saturating_mul(1 << (attempt - 1).min(20));
    let whole = doubled.min(policy.pause_max);
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos / 2 + random % (nanos / 2 + 1))
}
