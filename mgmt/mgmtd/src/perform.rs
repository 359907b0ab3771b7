//! How work becomes a change, and what its sender is told.

use engine_runtime::Env;
use engine_types::{NodeRole, SessionId};
use meta_kv::Kv;
use mgmt_cluster::cluster::Change;
use mgmt_cluster::command::Accepted;
use mgmt_cluster::config::{ConfigChange, ConfigError, ConfigVersion};
use mgmt_cluster::lease::{Holder, Term};
use mgmt_cluster::registry::Registered;
use mgmt_cluster::session::{Client, Opening, RevokeReason};
use mgmt_protocol::{Done, Operation, Refusal, RefusalCode, SessionTold};

use crate::driver::{End, Written};
use crate::election::HANDOVER_PAUSE;
use crate::manager::Manager;
use crate::records;
use crate::sessions::Planned;
use crate::tenure::{Settings, Tenure};
use crate::work::{Item, Outcome, Work};

/// What work turned out to be.
enum Found {
    /// There is nothing to write.
    Told(Result<Outcome, Refusal>),
    /// This, and its outcome when it is written.
    Change(Box<Change>, Outcome),
    /// The cluster waits for something else: once more later.
    NotNow,
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// Does one piece of work.
    pub(crate) async fn perform(&self, term: Term, item: Item) -> Result<(), End> {
        let found = match &item.work {
            Work::Register(wanted) => {
                self.with_tenure(|tenure, now| match tenure.cluster.register(wanted, now) {
                    Ok(Registered::Known(node)) => Found::Told(Ok(Outcome::Registered(node))),
                    Ok(Registered::New(node, change)) => {
                        Found::Change(Box::new(change), Outcome::Registered(node))
                    }
                    Err(error) => Found::Told(Err(Refusal::from(&error))),
                })
            }
            Work::Operate(Operation::Cluster(command)) => {
                self.with_tenure(|tenure, now| match tenure.cluster.command(command, now) {
                    Ok(accepted) => accepted_change(tenure, accepted),
                    Err(error) => Found::Told(Err(Refusal::from(&error))),
                })
            }
            Work::Operate(Operation::HandOver) => {
                self.hand_over(term, item).await;
                return Err(End::Over);
            }
            Work::Operate(Operation::SetConfig { .. } | Operation::ReplaceConfig { .. }) => {
                return self.set_config(term, item).await;
            }
            Work::Open(_) | Work::Close(_) | Work::Operate(Operation::RevokeSessions(_)) => {
                return self.change_session(term, item).await;
            }
        };
        match found.unwrap_or(Found::NotNow) {
            Found::Told(told) => item.answer(told),
            Found::NotNow => self.queue.put_back(item), // the term is over
            Found::Change(change, outcome) => {
                item.begun.set(true);
                let written = self.commit(term, *change).await;
                self.conclude(item, written, outcome)?;
            }
        }
        Ok(())
    }

    /// Gives the lease to another manager; the sender is told when it is out of this one's hands.
    async fn hand_over(&self, term: Term, item: Item) {
        self.election.hand_over(HANDOVER_PAUSE);
        self.election
            .changed()
            .until(|| self.election.with_holder(Holder::term) != Some(term))
            .await;
        item.answer(Ok(Outcome::Done(Done { changed: true, ..Done::default() })));
    }

    /// Tells the sender what became of a change that was written for it.
    fn conclude(
        &self,
        item: Item,
        written: Result<Written, End>,
        outcome: Outcome,
    ) -> Result<(), End> {
        match written {
            Ok(Written::Committed) => item.answer(Ok(outcome)),
            Ok(Written::Failed(refusal)) => item.answer(Err(refusal)),
            Ok(Written::Again) => {
                item.begun.set(false);
                self.queue.put_back(item);
            }
            Err(End::Reload) if item.is_repeatable() => {
                self.queue.put_back(item);
                return Err(End::Reload);
            }
            Err(End::Reload) => {
                let text = "whether it was done is unknown: the KV did not say";
                item.answer(Err(Refusal::new(RefusalCode::UnknownResult, text)));
                return Err(End::Reload);
            }
            Err(End::Over) => {
                // The lease was gone before anything was written: refused with the others.
                item.begun.set(false);
                self.queue.put_back(item);
                return Err(End::Over);
            }
        }
        Ok(())
    }

    async fn set_config(&self, term: Term, item: Item) -> Result<(), End> {
        let Work::Operate(operation) = &item.work else { return Ok(()) };
        let planned = self.with_tenure(|tenure, _| plan_config(tenure, operation));
        let (change, holder) = match (planned, self.holder(term)) {
            (Some(Ok(change)), Some(holder)) => (change, holder),
            (Some(Err(error)), _) => {
                item.answer(Err(Refusal::from(&error)));
                return Ok(());
            }
            _ => {
                self.queue.put_back(item); // refused with the others
                return Err(End::Over);
            }
        };
        if self.with_tenure(|tenure, _| says_the_same(tenure, &change)) == Some(true) {
            let config = ConfigVersion::new(change.put.version.get() - 1);
            item.answer(Ok(Outcome::Done(Done { config, ..Done::default() })));
            return Ok(());
        }
        item.begun.set(true);
        let result = records::write_settings(&self.kv, &holder, &change).await;
        let version = change.put.version;
        let written = self.decide(term, result, |tenure, _, committed| {
            if committed {
                tenure.config.committed(change);
            }
        });
        if matches!(written, Ok(Written::Committed)) {
            self.apply_settings();
        }
        let done = Done { changed: true, config: version, ..Done::default() };
        self.conclude(item, written, Outcome::Done(done))
    }

    /// The settings in force are followed at once.
    fn apply_settings(&self) {
        let times = self.with_tenure(|tenure, now| {
            let settings = match Settings::of(tenure.config.clone(), self.config.times) {
                Ok(settings) => settings,
                Err(error) => panic!("E296: settings are checked before they are kept: {error}"),
            };
            let times = settings.rules.times;
            tenure.beat = times.beat();
            tenure.poll_time = settings.poll_time;
            tenure.session_timeout = settings.session_timeout;
            tenure.sessions.set_timeout(settings.session_timeout);
            tenure.cluster.set_rules(settings.rules, now);
            times
        });
        if let Some(times) = times {
            self.election.set_times(times);
        }
    }

    async fn change_session(&self, term: Term, item: Item) -> Result<(), End> {
        enum Wanted {
            Open(Client),
            Revoke(Vec<SessionId>, RevokeReason),
        }
        let wanted = match &item.work {
            Work::Open(client) => Wanted::Open(client.clone()),
            Work::Close(session) => Wanted::Revoke(vec![*session], RevokeReason::Closed),
            Work::Operate(Operation::RevokeSessions(sessions)) => {
                Wanted::Revoke(sessions.clone(), RevokeReason::Operator)
            }
            Work::Register(_) | Work::Operate(_) => return Ok(()),
        };
        let closes = matches!(item.work, Work::Close(_));
        let planned = self.plan_sessions(|tenure, at, now| match wanted {
            Wanted::Open(client) => {
                let opened = tenure.cluster.routing().version;
                let timeout = tenure.session_timeout;
                let timeline = tenure.cluster.timeline();
                let told = |session| SessionTold::Opened { session, timeout, timeline };
                Ok(match tenure.sessions.plan_open(client, opened, at)? {
                    Opening::Existing(session) => {
                        tenure.sessions.extend(session, now)?;
                        (None, Outcome::Session(told(session)))
                    }
                    Opening::New(session, change) => {
                        (Some(change), Outcome::Session(told(session)))
                    }
                })
            }
            Wanted::Revoke(sessions, reason) => {
                let change = tenure.sessions.plan_revoke(&sessions, reason, at)?;
                let done = Done { changed: change.is_some(), ..Done::default() };
                let outcome = match closes {
                    true => Outcome::Session(SessionTold::Closed),
                    false => Outcome::Done(done),
                };
                Ok((change, outcome))
            }
        });
        let Some(planned) = planned else {
            self.queue.put_back(item); // refused with the others
            return Err(End::Over);
        };
        match planned {
            Planned::NotNow => {
                self.queue.put_back(item);
                self.rest().await;
                Ok(())
            }
            Planned::Refused(error) => {
                item.answer(Err(Refusal::from(&error)));
                Ok(())
            }
            Planned::Nothing(outcome) => {
                item.answer(Ok(outcome));
                Ok(())
            }
            Planned::Change(change, outcome) => {
                item.begun.set(true);
                let written = self.write_sessions(term, change).await;
                self.conclude(item, written, outcome)
            }
        }
    }
}

fn accepted_change(tenure: &Tenure, accepted: Accepted) -> Found {
    let Accepted { change, chains, targets } = accepted;
    let changed = change.is_some();
    let config = tenure.config.newest(NodeRole::Manager);
    let config = config.map_or(ConfigVersion::default(), |entry| entry.version);
    let outcome = Outcome::Done(Done { changed, chains, targets, config });
    match change {
        Some(change) => Found::Change(Box::new(change), outcome),
        None => Found::Told(Ok(outcome)),
    }
}

/// True if the settings in force are those of the change, so that nothing has to be written.
fn says_the_same(tenure: &Tenure, change: &ConfigChange) -> bool {
    let newest = tenure.config.newest(change.put.role);
    newest.map_or("", |entry| entry.text.as_str()) == change.put.text
}

fn plan_config(tenure: &Tenure, operation: &Operation) -> Result<ConfigChange, ConfigError> {
    match operation {
        Operation::SetConfig { role, based_on, changes, note } => {
            let (current, _) = tenure.config.current(*role)?;
            let changes: Vec<(&str, Option<&str>)> =
                changes.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            tenure.config.plan_set(*role, based_on.unwrap_or(current), &changes, note)
        }
        Operation::ReplaceConfig { role, based_on, text, note } => {
            tenure.config.plan_replace(*role, *based_on, text, note)
        }
        other => panic!("{other:?} is no change of settings"),
    }
}
