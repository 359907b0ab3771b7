use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use engine_runtime::sim::{NodeSpec, Sim, SimConfig, SimEnv};

use super::*;

const PATH: &str = "/identity";

/// Opens the file once, names the node if told to, and says what it was.
fn start(sim: &Sim, name: Option<u32>) -> Result<(StoreId, u64, Option<u32>), String> {
    let found = Rc::new(RefCell::new(None));
    let told = found.clone();
    sim.start(NodeId::new(0), move |env: SimEnv| async move {
        let opened = Identity::open(&env, Path::new(PATH)).await;
        let result = match opened {
            Ok(mut identity) => {
                let known = identity.node().map(NodeId::get);
                if let Some(name) = name {
                    identity.named(NodeId::new(name)).await.unwrap();
                }
                Ok((identity.uuid(), identity.incarnation().get(), known))
            }
            Err(error) => Err(error.to_string()),
        };
        *told.borrow_mut() = Some(result);
    });
    sim.run_for(Duration::from_secs(1)).unwrap();
    let found = found.borrow_mut().take();
    found.expect("a second is enough")
}

#[test]
fn e385_starts_are_counted_and_the_name_is_kept() {
    for seed in 0..20 {
        let sim = Sim::new(SimConfig::new(seed));
        sim.add_node(NodeSpec::new("node"));
        let (uuid, starts, name) = start(&sim, None).unwrap();
        assert_eq!((starts, name), (1, None));
        assert_eq!(start(&sim, Some(7)), Ok((uuid, 2, None)));
        sim.crash(NodeId::new(0));
        for starts in 3..6 {
            assert_eq!(start(&sim, Some(7)), Ok((uuid, starts, Some(7))));
            sim.crash(NodeId::new(0));
        }
    }
}

#[test]
fn one_damaged_copy_takes_no_start_back_and_two_are_refused() {
    let sim = Sim::new(SimConfig::new(1));
    sim.add_node(NodeSpec::new("node"));
    let (uuid, ..) = start(&sim, None).unwrap();
    start(&sim, Some(7)).unwrap();
    for (starts, place) in [(3, 20), (4, 4096 + 20)] {
        sim.flip_bit(NodeId::new(0), PATH, place, 1);
        assert_eq!(start(&sim, None), Ok((uuid, starts, Some(7))));
    }
    sim.flip_bit(NodeId::new(0), PATH, 20, 1);
    sim.flip_bit(NodeId::new(0), PATH, 4096 + 20, 1);
    let error = start(&sim, None).unwrap_err();
    assert!(error.contains("/identity is not the identity of a node"), "{error}");
}
