use super::*;
use engine_types::Rng;

fn nodes() -> Vec<NodeId> {
    (0..4).map(NodeId::new).collect()
}

fn drawn(seed: u64) -> FaultPlan {
    let nodes = nodes();
    let kinds = [
        Kind::CrashAndReturn,
        Kind::KillAndRestart,
        Kind::FreezeAndWake,
        Kind::ClockDrift { ppm_max: 500 },
        Kind::ClockJump,
        Kind::WallSkew { max: Duration::from_secs(5) },
        Kind::OneWayCut,
        Kind::Partition,
        Kind::SlowLink,
        Kind::LossyLink,
        Kind::DiskErrors,
        Kind::FlushErrors,
        Kind::FlushLies,
        Kind::SlowDisk,
        Kind::DiskFull,
        Kind::BitFlip,
        Kind::ReadFlips,
        Kind::Rot,
        Kind::Misdirected,
        Kind::DiskGone,
    ];
    let draws = kinds.map(|kind| Draw::new(kind, &nodes).count(1..=3));
    FaultPlan::draw(&Rng::new(seed), Duration::from_secs(1), &draws)
}

#[test]
fn a_seed_gives_one_plan() {
    assert_eq!(drawn(1), drawn(1));
    assert_eq!(drawn(1).to_string(), drawn(1).to_string());
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn plans_are_in_order_and_within_their_bounds() {
    for seed in 0..50 {
        let plan = drawn(seed);
        assert!(plan.events.is_sorted_by_key(|event| event.at), "seed {seed}");
        assert!(20 <= plan.events.len(), "seed {seed}: at least one of each kind");
        for FaultEvent { at, lasts, fault } in &plan.events {
            assert!(*at <= Duration::from_secs(1), "{at:?}");
            assert!(*lasts <= Duration::from_millis(500), "{lasts:?}");
            match fault {
                Fault::Partition(a, b) => {
                    assert!(!a.is_empty() && !b.is_empty());
                    assert_eq!(a.len() + b.len(), nodes().len());
                }
                Fault::OneWayCut(from, to) | Fault::Link(from, to, _) => assert_ne!(from, to),
                Fault::Drift(_, ppm) => assert!(ppm.abs() <= 500, "{ppm}"),
                _ => {}
            }
        }
    }
}

#[test]
fn rot_and_vanishing_devices_can_be_drawn() {
    let faults = |kind| {
        let draw = Draw::new(kind, &nodes()).count(1..=1).permille(70..=70);
        match &FaultPlan::draw(&Rng::new(5), Duration::ZERO, &[draw]).events[..] {
            [FaultEvent { fault: Fault::Disk(_, faults), .. }] => *faults,
            other => panic!("{other:?}"),
        }
    };
    let (rot, gone) = (faults(Kind::Rot), faults(Kind::DiskGone));
    assert_eq!((rot.rot_permille, rot.gone), (70, false));
    assert_eq!((gone.rot_permille, gone.gone), (0, true));
}

/// Adding a generator leaves the faults of the others as they were.
#[test]
fn generators_are_independent() {
    let nodes = nodes();
    let (rng, horizon) = (Rng::new(3), Duration::from_secs(1));
    let crashes = Draw::new(Kind::CrashAndReturn, &nodes).count(2..=2);
    let one = FaultPlan::draw(&rng, horizon, core::slice::from_ref(&crashes));
    let two = FaultPlan::draw(&rng, horizon, &[crashes, Draw::new(Kind::Partition, &nodes)]);
    assert!(one.events.iter().all(|event| two.events.contains(event)), "{one}{two}");
}

#[test]
fn a_plan_without_faults_says_so() {
    assert_eq!(FaultPlan::none().to_string(), "  no faults\n");
    assert_eq!(FaultPlan::none().end(), Duration::ZERO);
}
