//! Sessions of scripted managers.

use engine_types::StoreId;

use super::*;
use crate::testing::{Asked, Ground, Told, ms, refuse};

const TIMEOUT: Duration = Duration::from_secs(60);

fn client() -> Client {
    let (name, host) = ("mount".to_owned(), "host".to_owned());
    Client { uuid: StoreId::new(3), epoch: 1, process: 77, name, host }
}

fn keeps(asked: &Asked) -> Told {
    let Asked::Session(asked) = asked else { panic!("{asked:?}") };
    Told::Session(match asked {
        SessionAsk::Open(_) => SessionTold::Opened {
            session: SessionId::new(12),
            timeout: TIMEOUT,
            timeline: Timeline::new(2),
        },
        SessionAsk::Extend(_) => SessionTold::Extended { timeout: TIMEOUT },
        SessionAsk::Close(_) => SessionTold::Closed,
        SessionAsk::Fenced(_) => SessionTold::Fenced { fenced: true, waits_for: Vec::new() },
        SessionAsk::Ended(sessions) => SessionTold::Ended(sessions.clone()),
    })
}

#[test]
fn a_session_is_extended_several_times_in_its_timeout() {
    let ground = Ground::new(1, 1);
    let manager = ground.manager(0);
    manager.script(keeps);
    let done = ground.client(|env, managers| async move {
        let session = Session::open(&managers, client(), env.now() + ms(1000)).await.unwrap();
        assert_eq!((session.id(), session.timeline()), (SessionId::new(12), Timeline::new(2)));
        env.sleep_until(env.now() + TIMEOUT * 10 + ms(100)).await;
        assert!(!session.is_lost());
        session.close(env.now() + ms(1000)).await.unwrap();
        env.sleep_until(env.now() + TIMEOUT * 10).await;
    });
    ground.finish(&done);
    let asked = manager.asked();
    assert_eq!(asked[0], Asked::Session(SessionAsk::Open(client())));
    let id = SessionId::new(12);
    assert_eq!(asked.last(), Some(&Asked::Session(SessionAsk::Close(id))), "nothing after it");
    let extended = &asked[1..asked.len() - 1];
    assert!(extended.iter().all(|asked| *asked == Asked::Session(SessionAsk::Extend(id))));
    assert!((58..=60).contains(&extended.len()), "{} times", extended.len());
}

/// E339
#[test]
fn a_session_is_lost_when_a_manager_says_so_and_not_before() {
    for code in [RefusalCode::SessionRevoked, RefusalCode::SessionUnknown] {
        let ground = Ground::new(2, 2);
        ground.manager(0).script(keeps);
        let lost = Rc::new(Cell::new(false));
        let seen = lost.clone();
        let done = ground.client(move |env, managers| async move {
            let session = Session::open(&managers, client(), env.now() + ms(1000)).await.unwrap();
            session.lost().until(|| session.is_lost()).await;
            seen.set(true);
            assert_eq!(session.close(env.now() + ms(1000)).await, Ok(()), "as wanted");
        });
        ground.run(TIMEOUT);
        ground.kill(0);
        ground.run(TIMEOUT * 10);
        assert!(!lost.get(), "all that is known is that nobody says anything");
        ground.manager(1).script(keeps);
        ground.run(TIMEOUT);
        ground.manager(1).script(move |_| refuse(code));
        assert!(!lost.get());
        ground.run(TIMEOUT / EXTENDS_PER_TIMEOUT + ms(100));
        assert!(lost.get());
        ground.finish(&done);
        let asked = ground.manager(1).asked().len();
        ground.run(TIMEOUT);
        assert_eq!(ground.manager(1).asked().len(), asked, "nothing is extended any more");
    }
}

#[test]
fn opening_is_repeated_and_refusals_are_told() {
    let ground = Ground::new(3, 1);
    let manager = ground.manager(0);
    let mut times = 0;
    manager.script(move |asked| {
        times += 1;
        match times {
            1 => Told::Silence,
            2 => refuse(RefusalCode::UnknownResult),
            3 => keeps(asked),
            4 => Told::Session(SessionTold::Closed),
            _ => refuse(RefusalCode::SessionEpoch),
        }
    });
    let done = ground.client(|env, managers| async move {
        let open = || Session::open(&managers, client(), env.now() + Duration::from_secs(20));
        let session = open().await.unwrap();
        drop(session); // and nothing is extended
        let told = open().await.err().unwrap();
        assert!(matches!(told, ManagerError::Malformed { .. }), "{told:?}");
        let told = open().await.err().unwrap();
        let ManagerError::Refused(refusal) = told else { panic!("{told:?}") };
        assert_eq!(refusal.code, RefusalCode::SessionEpoch);
        env.sleep_until(env.now() + TIMEOUT).await;
    });
    ground.finish(&done);
    assert_eq!(manager.asked().len(), 5);
}
