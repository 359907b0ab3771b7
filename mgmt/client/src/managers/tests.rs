//! Calls among managers that come and go.

use mgmt_protocol::{Answer, Done, Operation, Question, RefusalCode};

use super::*;
use crate::testing::{Asked, Ground, Told, ms, refuse};

const QUESTION: Question = Question::Nodes(engine_types::NodeId::new(0));

fn rows() -> Answer {
    Answer::Nodes { rows: Vec::new(), more: false }
}

fn operation() -> Operation {
    Operation::HandOver
}

fn is_primary(asked: &Asked) -> Told {
    match asked {
        Asked::Question(_) => Told::Answer(rows()),
        Asked::Operation(_) => Told::Done(Done::default()),
        other => panic!("{other:?}"),
    }
}

fn operations(ground: &Ground, count: u32) -> usize {
    let asked = (0..count).flat_map(|number| ground.manager(number).asked());
    asked.filter(|asked| matches!(asked, Asked::Operation(_))).count()
}

#[test]
fn a_refusal_that_names_the_primary_is_followed() {
    let ground = Ground::new(1, 2);
    let (standby, primary) = (ground.manager(0), ground.manager(1));
    let named = primary.clone();
    standby.script(move |_| {
        let Told::Refuse(mut refusal) = named.is_primary() else { unreachable!() };
        let addresses = &mut refusal.primary.as_mut().unwrap().addresses;
        addresses.insert(0, "manager-1.example:7000".into());
        addresses.insert(0, "0.0.0.0:7000".into());
        addresses.insert(0, "10.0.0.1:0".into());
        Told::Refuse(refusal)
    });
    primary.script(is_primary);
    let (first, second) = (standby.address, primary.address);
    let done = ground.client_of(vec![first], move |env, managers| async move {
        assert_eq!((managers.addresses(), managers.primary()), (vec![first], None));
        assert_eq!(managers.call(&QUESTION, env.now() + ms(100)).await, Ok(rows()));
        assert_eq!(managers.addresses(), [first, second]);
        assert_eq!(managers.primary(), Some(second));
        assert_eq!(managers.call(&operation(), env.now() + ms(100)).await, Ok(Done::default()));
    });
    ground.finish(&done);
    assert_eq!(standby.asked(), [Asked::Question(QUESTION)], "only until the primary is known");
    assert_eq!(primary.asked().len(), 2);
}

#[test]
fn who_is_down_is_passed_over() {
    for crash in [false, true] {
        let ground = Ground::new(2, 3);
        ground.manager(2).script(is_primary);
        if crash {
            ground.sim.crash(engine_types::NodeId::new(0));
        } else {
            ground.kill(0);
        }
        let done = ground.client(|env, managers| async move {
            let began = env.now();
            let done = managers.call(&operation(), began + Duration::from_secs(10)).await;
            assert_eq!(done, Ok(Done::default()));
            let took = env.now().saturating_since(began);
            assert!(took < PROBE_TIME + ms(100), "E333: {took:?}");
            let began = env.now();
            managers.call(&QUESTION, began + ms(100)).await.unwrap();
        });
        ground.finish(&done);
    }
}

/// E332
#[test]
fn a_call_of_unknown_effect_is_repeated_only_if_it_may_be() {
    let ground = Ground::new(3, 3);
    for number in 0..3 {
        ground.manager(number).script(|_| Told::Crash);
    }
    let first = ground.manager(0).address;
    let done = ground.client(move |env, managers| async move {
        let told = managers.call(&operation(), env.now() + Duration::from_secs(20)).await;
        let Err(ManagerError::Unknown { address, why }) = told else { panic!("{told:?}") };
        assert!(address == first && why.contains("ended before the answer"), "{why}");
    });
    ground.finish(&done);
    assert_eq!(operations(&ground, 3), 1);
    for number in 1..3 {
        ground.manager(number).script(is_primary);
    }
    ground.start(0);
    let done = ground.client(move |env, managers| async move {
        let told = managers.call(&QUESTION, env.now() + Duration::from_secs(20)).await;
        assert_eq!(told, Ok(rows()));
        assert_ne!(managers.primary(), Some(first));
    });
    ground.finish(&done);
    assert_eq!(ground.manager(0).asked().len(), 2, "it was sent there, and lost");
}

/// A machine that died since it was heard gets a probe, and not the call (E332).
#[test]
fn nothing_is_sent_to_a_machine_that_has_died() {
    let ground = Ground::new(4, 2);
    ground.manager(0).script(is_primary);
    ground.manager(1).script(is_primary);
    let first = ground.manager(0).address;
    let done = ground.client(move |env, managers| async move {
        managers.call(&QUESTION, env.now() + ms(500)).await.unwrap();
        assert_eq!(managers.primary(), Some(first));
        env.sleep_until(env.now() + Duration::from_secs(4)).await;
        let began = env.now();
        managers.call(&operation(), began + Duration::from_secs(30)).await.unwrap();
        let took = env.now().saturating_since(began);
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
    ground.run_ms(2000);
    ground.sim.crash(engine_types::NodeId::new(0));
    ground.finish(&done);
    assert_eq!(ground.manager(1).asked(), [Asked::Operation(operation())]);
}

#[test]
fn a_refusal_that_is_final_is_returned_at_once() {
    let final_ones = RefusalCode::ALL.iter().copied().filter(|code| !code.is_transient());
    let codes: Vec<RefusalCode> = final_ones.chain([RefusalCode::Unrecognised(999)]).collect();
    let ground = Ground::new(5, 1);
    let manager = ground.manager(0);
    let done = ground.client(move |env, managers| async move {
        for code in codes {
            manager.script(move |_| refuse(code));
            let began = env.now();
            let deadline = began + Duration::from_secs(10);
            let told = managers.call(&operation(), deadline).await.unwrap_err();
            let ManagerError::Refused(refusal) = told else { panic!("{code:?}: {told:?}") };
            assert_eq!((refusal.code, &*refusal.message), (code, &*format!("{code:?}")));
            assert!(env.now() < began + ms(50), "{code:?}");
            if code != RefusalCode::UnknownResult {
                let told = managers.call(&QUESTION, deadline).await;
                assert_eq!(told, Err(ManagerError::Refused(refusal)));
                assert!(env.now() < began + ms(100), "{code:?}");
            }
        }
        // Repeating it can only help.
        let mut times = 0;
        manager.script(move |asked| {
            times += 1;
            if times < 3 { refuse(RefusalCode::UnknownResult) } else { is_primary(asked) }
        });
        let deadline = env.now() + Duration::from_secs(10);
        assert_eq!(managers.call(&QUESTION, deadline).await, Ok(rows()));
    });
    ground.finish(&done);
}

#[test]
fn transient_refusals_are_tried_again_until_the_deadline() {
    let ground = Ground::new(6, 2);
    let (one, two) = (ground.manager(0), ground.manager(1));
    let done = ground.client(move |env, managers| async move {
        // A takeover: nobody, then the second one, not at once.
        let mut times = 0;
        two.script(move |asked| {
            times += 1;
            match times {
                1..6 => refuse(RefusalCode::NotPrimary),
                6..9 => refuse(RefusalCode::NotReady),
                _ => is_primary(asked),
            }
        });
        let began = env.now();
        let told = managers.call(&operation(), began + Duration::from_secs(20)).await;
        assert_eq!(told, Ok(Done::default()));
        assert_eq!(managers.primary(), Some(two.address));
        let asked = one.asked().len();
        assert!((8..=9).contains(&asked), "once in a round: {asked}");
        two.script(|_| refuse(RefusalCode::Overloaded));
        let began = env.now();
        let told = managers.call(&operation(), began + ms(3000)).await;
        let Err(ManagerError::Refused(refusal)) = told else { panic!("{told:?}") };
        assert_eq!(refusal.code, RefusalCode::Overloaded);
        let took = env.now().saturating_since(began);
        assert!((ms(3000)..ms(3100)).contains(&took), "{took:?}");
        two.script(|_| refuse(RefusalCode::NotPrimary));
        let fresh = Managers::new(&env, managers.inner.net.clone(), managers.addresses());
        let told = fresh.call(&operation(), env.now() + ms(500)).await;
        let Err(ManagerError::Unreachable { tried }) = told else { panic!("{told:?}") };
        let why = || "NotPrimary".to_owned();
        assert_eq!(tried, [(one.address, why()), (two.address, why())]);
    });
    ground.finish(&done);
}

#[test]
fn a_deadline_holds_whatever_a_manager_does() {
    let ground = Ground::new(7, 2);
    ground.manager(0).script(|_| Told::Silence);
    ground.manager(1).script(|_| Told::Silence);
    let done = ground.client(|env, managers| async move {
        let began = env.now();
        let took = || env.now().saturating_since(began);
        let told = managers.call(&operation(), began + ms(2000)).await;
        assert!(matches!(told, Err(ManagerError::Unknown { .. })), "{told:?}");
        assert!(took() < ms(2010), "{:?}", took());
        let told = managers.call(&QUESTION, began + Duration::from_secs(12)).await;
        let Err(ManagerError::Unreachable { tried }) = told else { panic!("{told:?}") };
        assert_eq!(tried.len(), 2);
        assert!(took() < ms(12_010), "{:?}", took());
        let told = managers.call(&QUESTION, began).await;
        assert_eq!(told, Err(ManagerError::Unreachable { tried: Vec::new() }));
        managers.close(env.now()).await;
        let told = managers.call(&QUESTION, env.now() + ms(100)).await;
        assert_eq!(told, Err(ManagerError::Closed));
    });
    ground.finish(&done);
    assert_eq!(operations(&ground, 2), 1, "E332");
    assert!(2 <= ground.manager(1).asked().len(), "the other one is asked too");
}

#[test]
fn one_manager_is_asked_and_nobody_else() {
    let ground = Ground::new(8, 2);
    let (one, two) = (ground.manager(0), ground.manager(1));
    let named = two.clone();
    one.script(move |_| named.is_primary());
    ground.kill(1);
    let gone = two.address;
    let done = ground.client(move |env, managers| async move {
        let told = managers.call_at(one.address, &QUESTION, env.now() + ms(100)).await;
        let Err(ManagerError::Refused(refusal)) = told else { panic!("{told:?}") };
        assert_eq!(refusal.code, RefusalCode::NotPrimary);
        let status =
            managers.call_at(one.address, &StatusAsk::default(), env.now() + ms(100)).await;
        assert_eq!(status.unwrap().me.addresses, [one.address.to_string()]);
        let told = managers.call_at(gone, &QUESTION, env.now() + ms(100)).await;
        assert!(matches!(told, Err(ManagerError::Unreachable { tried }) if tried[0].0 == gone));
    });
    ground.finish(&done);
}

#[test]
fn a_question_that_is_too_large_is_not_sent() {
    let ground = Ground::new(9, 1);
    let done = ground.client(|env, managers| async move {
        let text = "x".repeat(5 << 20);
        let command = Operation::ReplaceConfig {
            role: engine_types::NodeRole::Storage,
            based_on: mgmt_cluster::config::ConfigVersion::new(0),
            text,
            note: String::new(),
        };
        let told = managers.call(&command, env.now() + ms(1000)).await;
        assert!(matches!(told, Err(ManagerError::TooLarge { .. })), "{told:?}");
    });
    ground.finish(&done);
    assert_eq!(ground.manager(0).asked(), []);
}

/// E332 in many worlds: whatever managers do, an operation is done once at most, and what is said
/// of it is true.
#[test]
fn an_operation_is_done_at_most_once() {
    let mut outcomes = [0; 4];
    for seed in 0..60 {
        let ground = Ground::new(100 + seed, 3);
        let (done_times, known_primary) = (Rc::new(Cell::new(0)), ground.manager(1));
        for number in 0..3 {
            let (does, named) = (done_times.clone(), known_primary.clone());
            let mut random = ground.sim.random(&format!("manager {number}"));
            ground.manager(number).script(move |_| match random.below(12) {
                0 => Told::Silence,
                1 => Told::Crash,
                2..4 => named.is_primary(),
                4..6 => refuse(RefusalCode::NotReady),
                6 => refuse(RefusalCode::Overloaded),
                7..9 => refuse(RefusalCode::NotPrimary),
                what => {
                    does.set(does.get() + 1);
                    match what {
                        9 => Told::Crash,
                        10 => refuse(RefusalCode::UnknownResult),
                        _ => Told::Later(ms(30), Box::new(Told::Done(Done::default()))),
                    }
                }
            });
        }
        let outcome = Rc::new(Cell::new(0));
        let (seen, does) = (outcome.clone(), done_times.clone());
        let done = ground.client(move |env, managers| async move {
            let told = managers.call(&operation(), env.now() + Duration::from_secs(5)).await;
            let (outcome, times) = match told {
                Ok(_) => (0, 1..=1),
                Err(ManagerError::Unknown { .. }) => (1, 0..=1),
                Err(ManagerError::Refused(why)) if why.code == RefusalCode::UnknownResult => {
                    (2, 1..=1)
                }
                Err(_) => (3, 0..=0),
            };
            assert!(times.contains(&does.get()), "seed {seed}: {outcome}, {}", does.get());
            seen.set(outcome);
        });
        ground.finish(&done);
        outcomes[outcome.get()] += 1;
        ground.run_ms(10_000);
        assert!(done_times.get() <= 1, "seed {seed}: done later");
    }
    assert!(outcomes[..3].iter().all(|&count| 2 < count), "{outcomes:?}");
}
