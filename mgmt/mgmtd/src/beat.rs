//! Heartbeats: answered by the primary from memory, or by a standby in its stead (L5).

use core::time::Duration;

use engine_runtime::Env;
use meta_kv::Kv;
use mgmt_cluster::heartbeat::Heartbeat;
use mgmt_cluster::lease::Holder;
use mgmt_protocol::{BeatAnswer, Refusal};

use crate::manager::Manager;

impl<E: Env, K: Kv> Manager<E, K> {
    /// Answers a heartbeat.
    pub(crate) async fn answer_beat(&self, beat: &Heartbeat) -> Result<BeatAnswer, Refusal> {
        // Who holds the lease answers as primary or not at all: a standby's way is for others.
        if self.election.with_holder(Holder::is_over) == Some(false) {
            return self.beat_as_primary(beat);
        }
        Err(self.not_primary())
    }

    fn beat_as_primary(&self, beat: &Heartbeat) -> Result<BeatAnswer, Refusal> {
        let answer = self.as_primary(|tenure, now| {
            let answer = tenure.cluster.heartbeat(beat, tenure.sessions.fences_mut(), now);
            let answer = answer.map_err(|error| Refusal::from(&error))?;
            let config = tenure.config_of(beat.node);
            let beat: Duration = tenure.beat;
            Ok(BeatAnswer { answer, beat, config, by_standby: false })
        })?;
        self.wake();
        answer
    }
}
