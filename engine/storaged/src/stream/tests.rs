use engine_runtime::Env;
use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};
use engine_store::TruncateEpoch;
use engine_types::ChunkSize;

use super::*;

fn in_sim(test: impl FnOnce(SimEnv) + 'static) {
    let sim = Sim::new(SimConfig::new(1));
    let node = sim.add_node(NodeSpec::new("node"));
    sim.start(node, move |env| async move { test(env) });
    sim.run_for(core::time::Duration::from_secs(1)).unwrap();
}

fn described(change: Change, extents: &[(u32, u32)]) -> Description {
    let size = ChunkSize::new(1 << 20).unwrap();
    Description { change, size, epoch: TruncateEpoch::default(), extents: extents.to_vec() }
}

fn bytes(env: &SimEnv, len: usize) -> Bytes<<SimEnv as Env>::Memory> {
    let mut buf = env.pool().alloc(len.max(1)).unwrap();
    buf.set_len(len);
    buf.freeze()
}

/// Pushes runs of these lengths, then ends; gives where they went, or the first that was refused.
fn run(
    env: &SimEnv,
    description: Description,
    lens: &[usize],
    complete: bool,
) -> Result<(Vec<u32>, bool), usize> {
    let stream = Stream::<SimEnv>::new(description);
    for (place, len) in lens.iter().enumerate() {
        stream.push_read(bytes(env, *len)).map_err(|Overrun| place)?;
    }
    let whole = stream.end(complete).unwrap();
    assert_eq!(stream.end(true), None, "it ends once");
    let places = stream.pieces.borrow().iter().map(|piece| piece.at).collect();
    Ok((places, whole))
}

#[test]
fn e383_bytes_lie_where_the_description_says() {
    in_sim(|env| {
        let write = || described(Change::Write { offset: 100, len: 5000 }, &[]);
        let replace = || described(Change::Replace { len: 300_000 }, &[(0, 65_536), (131_072, 10)]);
        for (description, lens, complete, expected) in [
            (write(), &[4000, 1000][..], true, Ok((vec![100, 4100], true))),
            (write(), &[4000], true, Ok((vec![100], false))),
            (write(), &[4000, 1000], false, Ok((vec![100, 4100], false))),
            (write(), &[5001], true, Err(0)),
            (write(), &[5000, 1], true, Err(1)),
            (write(), &[0], true, Err(0)),
            (replace(), &[65_536, 10], true, Ok((vec![0, 131_072], true))),
            (replace(), &[65_000, 536, 4, 6], true, Ok((vec![0, 65_000, 131_072, 131_076], true))),
            (replace(), &[65_537], true, Err(0)),
            (replace(), &[65_536, 11], true, Err(1)),
            (described(Change::Remove, &[]), &[], true, Ok((vec![], true))),
            (described(Change::Remove, &[]), &[1], true, Err(0)),
        ] {
            let shown = format!("{description:?} {lens:?}");
            assert_eq!(run(&env, description, lens, complete), expected, "{shown}");
        }
    });
}

#[test]
fn e382_nothing_is_taken_after_the_end_and_a_discarded_stream_is_not_complete() {
    in_sim(|env| {
        let stream = Stream::<SimEnv>::new(described(Change::Write { offset: 0, len: 10 }, &[]));
        stream.push_read(bytes(&env, 5)).unwrap();
        stream.discard();
        assert_eq!(stream.ended(), Some(false));
        stream.push_read(bytes(&env, 5)).unwrap();
        assert_eq!(stream.chunklets(0).len(), 1);
        assert_eq!(stream.end(true), None);
    });
}
