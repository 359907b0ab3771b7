//! E30–E33: the pool of a core.

use core::cell::RefCell;
use std::rc::Rc;

use engine_runtime::{BUFFER_ALIGN, Env};

use crate::ground::{Ground, a_moment};

/// V10: every buffer can be the target of direct I/O.
pub(crate) async fn buffers_are_aligned<E: Env>(env: E, _: Ground) {
    for len in [0, 1, 4095, 4096, 4097, 100_000, 1 << 20] {
        let mut buf = env.pool().alloc(len).unwrap();
        assert!(len <= buf.capacity() && buf.is_empty());
        assert!(buf.capacity().is_multiple_of(BUFFER_ALIGN));
        assert!(buf.whole_mut().as_ptr().addr().is_multiple_of(BUFFER_ALIGN));
    }
    assert_eq!(env.pool().held(), 0);
}

/// E30, E32.
pub(crate) async fn a_pool_has_a_limit<E: Env>(env: E, _: Ground) {
    let pool = env.pool();
    let (limit, part) = (pool.limit(), 1 << 20);
    for round in 0..3 {
        let mut taken = Vec::new();
        let refused = loop {
            match pool.alloc(part) {
                Ok(buf) => taken.push(buf),
                Err(refused) => break refused,
            }
        };
        assert_eq!(taken.len(), limit / part, "round {round}");
        assert_eq!((refused.requested, refused.limit), (part, limit));
        assert_eq!(refused.held, pool.held());
        let kept = taken.pop().unwrap().freeze();
        drop(taken);
        let (copy, slice) = (kept.clone(), kept.slice(0..0));
        drop(kept);
        drop(copy);
        assert_eq!(pool.held(), part, "a slice holds the whole buffer");
        drop(slice);
        assert_eq!(pool.held(), 0);
    }
}

/// E33: a large demand is not overtaken by small ones.
pub(crate) async fn waiters_for_memory_are_served_in_order<E: Env>(env: E, _: Ground) {
    let pool = env.pool().clone();
    let all = pool.alloc(pool.limit()).unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let mut waiters = Vec::new();
    for (index, len) in [8 << 20, 4096, 8 << 20, 4096].into_iter().enumerate() {
        let (pool, order, env2) = (pool.clone(), order.clone(), env.clone());
        waiters.push(env.spawn(async move {
            let buf = pool.alloc_wait(len).await.unwrap();
            order.borrow_mut().push(index);
            a_moment(&env2).await;
            drop(buf);
        }));
        a_moment(&env).await; // in line before the next one comes
    }
    assert!(pool.alloc(1).is_err(), "nobody overtakes the line");
    drop(all);
    for waiter in waiters {
        waiter.await;
    }
    assert_eq!(order.take(), [0, 1, 2, 3]);
}

/// E30: waiting would be for ever.
pub(crate) async fn more_than_the_pool_is_refused_at_once<E: Env>(env: E, _: Ground) {
    let pool = env.pool();
    let refused = pool.alloc_wait(pool.limit() + 1).await.unwrap_err();
    assert_eq!((refused.held, refused.limit), (0, pool.limit()));
    assert!(pool.limit() < refused.requested);
}
