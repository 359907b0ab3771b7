use std::cell::Cell;
use std::rc::Rc;

use engine_types::limits::PAYLOAD_BYTES_MAX as BLOCK;

use super::{Account, CreditPool, Overdrawn};

/// An account, and what its peer was granted so far.
fn account(pool: &CreditPool) -> (Rc<Account>, Rc<Cell<u64>>) {
    let granted = Rc::new(Cell::new(0));
    let seen = granted.clone();
    let account = pool.open(Box::new(move |bytes| seen.set(seen.get() + u64::from(bytes))));
    (account, granted)
}

fn blocks(count: u64) -> u64 {
    count * u64::from(BLOCK)
}

#[test]
fn e52_the_budget_is_never_exceeded_and_the_line_moves_when_credit_returns() {
    let pool = CreditPool::new(blocks(4), 0);
    let [(a, a_has), (b, b_has), (c, c_has)] = [(); 3].map(|()| account(&pool));
    pool.want(&a, 2 * BLOCK);
    pool.want(&b, 2 * BLOCK);
    pool.want(&c, BLOCK);
    assert_eq!([a_has.get(), b_has.get(), c_has.get()], [blocks(2), blocks(2), 0]);
    pool.begin(&a, BLOCK).unwrap();
    pool.done(&a, BLOCK);
    assert_eq!(c_has.get(), blocks(1), "what a gave back goes to the one who waits");
    assert_eq!(pool.granted.get(), blocks(4));
}

#[test]
fn a_peer_that_hoards_gets_half_and_starves_nobody() {
    let pool = CreditPool::new(blocks(4), 0);
    let (hoarder, hoard) = account(&pool);
    let (other, has) = account(&pool);
    pool.want(&hoarder, u32::MAX);
    assert_eq!(hoard.get(), blocks(2));
    for _ in 0..3 {
        pool.want(&other, BLOCK);
        pool.begin(&other, BLOCK).unwrap();
        pool.done(&other, BLOCK);
    }
    assert_eq!((hoard.get(), has.get()), (blocks(2), blocks(3)));
    assert_eq!(pool.waiting.borrow().len(), 1, "however often it asks, it stands in line once");
}

#[test]
fn unused_credit_can_be_returned_once() {
    let pool = CreditPool::new(blocks(4), 0);
    let (peer, _) = account(&pool);
    pool.want(&peer, 2 * BLOCK);
    pool.begin(&peer, BLOCK).unwrap();
    pool.give_back(&peer, blocks(1)).unwrap();
    assert_eq!(pool.give_back(&peer, 1), Err(Overdrawn { found: 1, credit: 0 }));
    assert_eq!(pool.granted.get(), blocks(1), "the block in use");
}

#[test]
fn grants_go_round_so_that_a_small_demand_is_not_behind_a_large_one() {
    let pool = CreditPool::new(blocks(4), 0);
    let [(holder, _), (other, _)] = [(); 2].map(|()| account(&pool));
    pool.want(&holder, 2 * BLOCK);
    pool.want(&other, 2 * BLOCK);
    let (large, large_has) = account(&pool);
    let (small, small_has) = account(&pool);
    pool.want(&large, 10 * BLOCK);
    pool.want(&small, BLOCK);
    for _ in 0..2 {
        pool.begin(&holder, BLOCK).unwrap();
        pool.done(&holder, BLOCK);
    }
    assert_eq!((large_has.get(), small_has.get()), (blocks(1), blocks(1)));
}

#[test]
fn a_peer_that_sends_without_credit_is_found_out() {
    let pool = CreditPool::new(blocks(4), blocks(1));
    let (peer, has) = account(&pool);
    assert_eq!(has.get(), blocks(1), "idle credit, given without asking");
    pool.begin(&peer, BLOCK).unwrap();
    assert_eq!(pool.begin(&peer, 1), Err(Overdrawn { found: 1, credit: 0 }));
}

#[test]
fn working_peers_are_refilled_from_the_first_half_of_the_budget_only() {
    let pool = CreditPool::new(blocks(4), blocks(1));
    let peers: Vec<_> = (0..4).map(|_| account(&pool)).collect();
    let held: u64 = peers.iter().map(|(_, has)| has.get()).sum();
    assert_eq!(held, blocks(2), "half of the budget stays for those who ask");
    let (working, has) = &peers[0];
    pool.begin(working, BLOCK).unwrap();
    pool.done(working, BLOCK);
    assert_eq!(has.get(), blocks(2), "one block at the start, one again after the work");
    pool.want(&peers[3].0, 2 * BLOCK);
    assert_eq!(peers[3].1.get(), blocks(2), "idle credit of others does not starve a want");
}

#[test]
fn an_ended_connection_returns_unused_credit_at_once_and_the_rest_when_done() {
    let pool = CreditPool::new(blocks(4), 0);
    let [(gone, _), (other, _), (next, has)] = [(); 3].map(|()| account(&pool));
    pool.want(&gone, 2 * BLOCK);
    pool.want(&other, 2 * BLOCK);
    pool.begin(&gone, BLOCK).unwrap();
    pool.want(&next, 2 * BLOCK);
    assert_eq!(has.get(), 0);
    pool.close(&gone);
    assert_eq!(has.get(), blocks(1));
    pool.done(&gone, BLOCK);
    assert_eq!(has.get(), blocks(2));
    assert_eq!(pool.granted.get(), blocks(4));
}
