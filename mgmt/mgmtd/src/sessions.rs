//! Changes of sessions: planned with the routing version that will show them, written, published.

use engine_runtime::Env;
use engine_types::{Instant, RoutingVersion};
use meta_kv::Kv;
use mgmt_cluster::lease::Term;
use mgmt_cluster::session::{SessionChange, SessionError};

use crate::driver::{End, Written};
use crate::manager::Manager;
use crate::records;
use crate::tenure::Tenure;

/// What a plan came to.
pub(crate) enum Planned<T> {
    /// To be written with `write_sessions`, which publishes it or gives its version back.
    Change(SessionChange, T),
    /// Nothing has to be written.
    Nothing(T),
    /// It is refused.
    Refused(SessionError),
    /// No routing version can be kept for it yet, or the sessions are behind the cluster.
    NotNow,
}

impl<E: Env, K: Kv> Manager<E, K> {
    /// Plans a change with the routing version that would show it (E293).
    pub(crate) fn plan_sessions<T>(
        &self,
        plan: impl FnOnce(
            &mut Tenure,
            RoutingVersion,
            Instant,
        ) -> Result<(Option<SessionChange>, T), SessionError>,
    ) -> Option<Planned<T>> {
        self.with_tenure(|tenure, now| {
            let Some(at) = tenure.cluster.plan_revocation() else { return Planned::NotNow };
            let planned = plan(tenure, at, now);
            if let Ok((Some(change), told)) = planned {
                return Planned::Change(change, told);
            }
            tenure.cluster.abandon_revocation();
            match planned {
                Ok((_, told)) => Planned::Nothing(told),
                Err(
                    SessionError::Busy
                    | SessionError::StaleVersion { .. }
                    | SessionError::FormerTimeline { .. },
                ) => Planned::NotNow,
                Err(error) => Planned::Refused(error),
            }
        })
    }

    /// Writes a planned change, and publishes it if it revokes something.
    pub(crate) async fn write_sessions(
        &self,
        term: Term,
        change: SessionChange,
    ) -> Result<Written, End> {
        self.write_change(term, change, true).await
    }

    /// `versioned`: a routing version is kept for it.
    async fn write_change(
        &self,
        term: Term,
        change: SessionChange,
        versioned: bool,
    ) -> Result<Written, End> {
        let holder = self.holder(term).ok_or(End::Over)?;
        let known = self.with_tenure(|tenure, _| {
            let fences = tenure.sessions.summary().fenced_to < change.summary.fenced_to;
            (fences, if fences { tenure.grants.clone() } else { records::Grants::new() })
        });
        let (fences, grants) = known.ok_or(End::Over)?;
        let result = records::write_sessions(&self.kv, &holder, &change, fences, &grants).await;
        self.decide(term, result, |tenure, now, committed| {
            let revokes = change.revokes;
            if committed {
                tenure.sessions.committed(change, now);
            } else {
                tenure.sessions.failed(change);
            }
            if !versioned {
                return;
            }
            if committed && revokes {
                let revoked = tenure.sessions.revoked();
                tenure.cluster.publish_revoked(revoked.below, revoked.sessions);
            } else {
                tenure.cluster.abandon_revocation();
            }
        })
    }

    /// Ends silent sessions, declares revoked ones fenced, forgets old ones.
    pub(crate) async fn look_after_sessions(&self, term: Term) -> Result<(), End> {
        // Silence counts only while this manager listened, and may act upon it.
        if !self.holder(term).is_some_and(|h| h.valid(self.env.now())) {
            return Ok(());
        }
        let expired = self.plan_sessions(|tenure, at, now| {
            tenure.hear_all_after_a_lapse(now);
            Ok((tenure.sessions.plan_expire(now, at)?, ()))
        });
        if let Some(Planned::Change(change, ())) = expired {
            tracing::info!(sessions = change.put.len(), "sessions of silent clients end");
            self.write_sessions(term, change).await?;
        }
        // Neither says anything that routing info shows.
        let fenced = self.with_tenure(|tenure, now| tenure.sessions.plan_fence(now));
        if let Some(Ok(Some(change))) = fenced {
            self.write_change(term, change, false).await?;
        }
        let swept = self.with_tenure(|tenure, _| tenure.sessions.plan_sweep());
        if let Some(Ok(Some(change))) = swept {
            self.write_change(term, change, false).await?;
        }
        Ok(())
    }

    /// Ends all sessions of a former timeline, if the cluster's was raised (R20).
    pub(crate) async fn follow_timeline(&self, term: Term) -> Result<(), End> {
        let behind =
            |tenure: &Tenure| tenure.sessions.summary().timeline != tenure.cluster.timeline();
        if self.with_tenure(|tenure, _| behind(tenure)) != Some(true) {
            return Ok(());
        }
        let lifted = self.plan_sessions(|tenure, at, _| {
            tenure.sessions.raise_timeline(tenure.cluster.timeline());
            Ok((tenure.sessions.plan_lift(at)?, ()))
        });
        if let Some(Planned::Change(change, ())) = lifted {
            self.write_sessions(term, change).await?;
        }
        Ok(())
    }
}
