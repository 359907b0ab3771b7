//! What operators and nodes ask of a primary's memory, in pages.

use engine_runtime::Env;
use engine_types::limits::CHAINS_MAX;
use engine_types::{ChainId, Instant, NodeId, NodeState, PublicState, SessionId};
use meta_kv::Kv;
use mgmt_cluster::lease::Holder;
use mgmt_cluster::record::{ChainRecord, Record};
use mgmt_protocol::{
    Answer, ChainMember, ChainRow, ClusterSummary, ManagerStatus, NodeRow, Question, Refusal,
    RefusalCode, SessionRow, StandingSaid, StatusAsk,
};

use crate::manager::Manager;
use crate::tenure::Tenure;

/// Rows of a page.
const ROWS_MAX: usize = 1_000;
/// Bytes of the texts of a page, from which on it ends: with one row more, and the fields of fixed
/// size, that is far below the room that askers reserve.
const PAGE_TEXT_BYTES_MAX: usize = 1 << 20;
/// Chains of a table in one page: four bytes each.
const TABLE_ROWS_MAX: usize = 65_536;

const _: () = assert!(TABLE_ROWS_MAX < CHAINS_MAX);

impl<E: Env, K: Kv> Manager<E, K> {
    /// How this manager is; a standby answers too.
    pub(crate) fn status(&self, asked: StatusAsk) -> ManagerStatus {
        let told = self.as_primary(|tenure, now| asked.summary.then(|| summary(tenure, now)));
        let holds = self.election.with_holder(Holder::is_over) == Some(false);
        let standing = match (&told, holds) {
            (Ok(_), _) => StandingSaid::Primary,
            (Err(_), true) => StandingSaid::TakingOver,
            (Err(_), false) => StandingSaid::Standby,
        };
        ManagerStatus {
            me: self.config.me.clone(),
            cluster: self.config.cluster,
            standing,
            lease: self.lease(),
            since: self.env.now().saturating_since(self.since.get()),
            summary: told.ok().flatten(),
            trouble: self.trouble.borrow().clone().unwrap_or_default(),
        }
    }

    /// The answer to a question.
    pub(crate) fn answer_question(&self, question: &Question) -> Result<Answer, Refusal> {
        self.as_primary(|tenure, now| answer(tenure, question, now))?
    }
}

fn missing(what: impl core::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::NotFound, format!("{what} does not exist"))
}

fn answer(tenure: &Tenure, question: &Question, now: Instant) -> Result<Answer, Refusal> {
    let cluster = &tenure.cluster;
    Ok(match question {
        Question::Nodes(after) => nodes(tenure, *after, now),
        Question::Chains { after, unwhole } => chains(tenure, *after, *unwhole, now),
        &Question::Chain(id) => {
            let record = cluster.chain(id).ok_or_else(|| missing(id))?;
            Answer::Chains { rows: vec![chain_row(tenure, id, record, now)], more: false }
        }
        &Question::Table { table, version, from } => {
            let newest = cluster.routing().tables.get(&table).map(|info| info.version);
            let version = version.or(newest).ok_or_else(|| missing(table))?;
            let all = cluster.table(table, version);
            let all = all.ok_or_else(|| missing(format!("{table} {version}")))?;
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
            let page = &all[from..all.len().min(from + TABLE_ROWS_MAX)];
            let more = from + page.len() < all.len();
            Answer::Table { version, chains: page.to_vec(), more }
        }
        Question::Sessions(after) => sessions(tenure, *after, now),
        Question::Config(role) => Answer::Config(tenure.config.newest(*role).cloned()),
        Question::ConfigHistory(role) => {
            Answer::ConfigHistory(tenure.config.history(*role).cloned().collect())
        }
        &Question::Drain(node) => {
            Answer::Drain(cluster.drain_progress(node).ok_or_else(|| missing(node))?)
        }
    })
}

/// The first rows of `found`, and whether there are more. `text` is the bytes of a row's texts.
fn page<T>(mut found: impl Iterator<Item = T>, text: impl Fn(&T) -> usize) -> (Vec<T>, bool) {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in found.by_ref() {
        bytes += text(&row);
        rows.push(row);
        if ROWS_MAX <= rows.len() || PAGE_TEXT_BYTES_MAX <= bytes {
            break;
        }
    }
    let more = found.next().is_some();
    (rows, more)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn nodes(tenure: &Tenure, after: NodeId, now: Instant) -> Answer {
    let rows = tenure.cluster.nodes_after(after).map(|node| NodeRow {
        node: node.id,
        record: node.record.clone(),
        state: node.state,
        silent: now.saturating_since(node.heard),
        clock_away: node.clock_away,
        targets: number(node.targets),
        serving: number(node.serving),
    });
    let (rows, more) = page(rows, |row| Record::Node(row.record.clone()).encode().len());
    Answer::Nodes { rows, more }
}

fn is_whole(record: &ChainRecord) -> bool {
    record.members.iter().all(|member| member.state == PublicState::Serving)
}

fn chains(tenure: &Tenure, after: Option<ChainId>, unwhole: bool, now: Instant) -> Answer {
    let mut rows: Vec<ChainRow> = Vec::new();
    let mut bytes = 0;
    let mut all = tenure.cluster.chains_after(after);
    for (id, record) in all.by_ref() {
        if !unwhole || !is_whole(record) {
            let row = chain_row(tenure, id, record, now);
            bytes += row.reasons.iter().map(String::len).sum::<usize>();
            rows.push(row);
        }
        if ROWS_MAX <= rows.len() || PAGE_TEXT_BYTES_MAX <= bytes {
            break;
        }
    }
    let more = all.next().is_some();
    Answer::Chains { rows, more }
}

fn chain_row(tenure: &Tenure, chain: ChainId, record: &ChainRecord, now: Instant) -> ChainRow {
    let cluster = &tenure.cluster;
    let members = record.members.iter().map(|member| {
        let target = cluster.target(member.target).expect("E272: a member is a target");
        let record = target.record;
        ChainMember {
            node: record.node,
            store: record.store,
            disk: record.disk,
            leaving: record.leaving,
            local: target.local,
        }
    });
    let reasons = cluster.explain(chain, now).unwrap_or_default();
    ChainRow {
        chain,
        info: record.info(),
        members: members.collect(),
        last_serving: record.last_serving.clone(),
        preferred: record.preferred.clone(),
        reasons: reasons.iter().map(ToString::to_string).collect(),
    }
}

fn sessions(tenure: &Tenure, after: Option<SessionId>, now: Instant) -> Answer {
    let rows = tenure.sessions.list_after(after, now).map(|(session, record, silent)| SessionRow {
        session,
        record: record.clone(),
        silent,
        fenced: tenure.sessions.fenced(session),
    });
    let (rows, more) =
        page(rows, |row| row.record.client.name.len() + row.record.client.host.len());
    Answer::Sessions { rows, more }
}

fn summary(tenure: &Tenure, now: Instant) -> ClusterSummary {
    let cluster = &tenure.cluster;
    let info = cluster.routing();
    let mut summary = ClusterSummary {
        name: tenure.name.clone(),
        timeline: cluster.timeline(),
        stopped: cluster.cluster_record().stopped,
        routing: info.version,
        nodes: number(info.nodes.len()),
        targets: number(info.targets.len()),
        chains: number(info.chains.len()),
        sessions: number(tenure.sessions.live_count()),
        changes: tenure.changes,
        grace: cluster.grace_left(now),
        ..ClusterSummary::default()
    };
    let alive = info.nodes.values().filter(|node| node.state != NodeState::Dead);
    summary.nodes_alive = number(alive.count());
    for chain in info.chains.values() {
        let in_state = |state| number(chain.members.iter().filter(|m| m.state == state).count());
        let serving = in_state(PublicState::Serving);
        summary.targets_serving += serving;
        summary.targets_syncing += in_state(PublicState::Syncing);
        summary.chains_whole += u32::from(serving == number(chain.members.len()));
        summary.chains_unserved += u32::from(serving == 0);
    }
    summary
}
