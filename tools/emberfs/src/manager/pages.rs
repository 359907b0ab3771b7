//! Questions whose answers come in pages, as a whole.

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::{ChainId, ChainTableId, ChainTableVersion, NodeId, NodeRole, SessionId};
use mgmt_cluster::config::ConfigEntry;
use mgmt_cluster::explain::DrainProgress;
use mgmt_protocol::{Answer, ChainRow, NodeRow, Question, SessionRow};

use super::Access;
use crate::exit::Failure;

/// Gives the answer of a question, which has the question's name.
macro_rules! answer {
    ($access:expr, $question:expr, $pattern:pat => $value:expr) => {{
        let question = $question;
        let name = format!("{question:?}");
        match $access.ask(question).await? {
            $pattern => $value,
            other => return Err(alien(&name, &other)),
        }
    }};
}

fn alien(question: &str, answer: &Answer) -> Failure {
    let mut answer = format!("{answer:?}");
    answer.truncate(answer.find([' ', '(']).unwrap_or(answer.len()));
    let why = anyhow!("the manager answers {question} with {answer}");
    Failure::environment(why).hint("compare `emberfs --version` here and there")
}

impl<E: Env> Access<E> {
    /// All nodes, in the order of ids.
    pub(crate) async fn nodes(
        &self,
        mut each: impl FnMut(NodeRow) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after = NodeId::default();
        loop {
            let question = Question::Nodes(after);
            let (rows, more) =
                answer!(self, question, Answer::Nodes { rows, more } => (rows, more));
            let last = rows.last().map(|row| row.node);
            rows.into_iter().try_for_each(&mut each)?;
            match last.filter(|last| more && after < *last) {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// How many nodes a page has: for who wants to know that questions are answered.
    pub(crate) async fn node_count(&self) -> Result<usize, Failure> {
        let question = Question::Nodes(NodeId::default());
        Ok(answer!(self, question, Answer::Nodes { rows, .. } => rows.len()))
    }

    /// One node.
    pub(crate) async fn node(&self, node: NodeId) -> Result<NodeRow, Failure> {
        // Nobody has number 0; a page begins behind an id.
        let before = NodeId::new(node.get().saturating_sub(1));
        let rows = answer!(self, Question::Nodes(before), Answer::Nodes { rows, .. } => rows);
        let found = rows.into_iter().find(|row| row.node == node);
        found.ok_or_else(|| {
            Failure::usage(anyhow!("{node} is not registered")).hint("emberfs node list shows all")
        })
    }

    /// All chains, in the order of ids.
    pub(crate) async fn chains(
        &self,
        unwhole: bool,
        mut each: impl FnMut(ChainRow) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after: Option<ChainId> = None;
        loop {
            let question = Question::Chains { after, unwhole };
            let (rows, more) =
                answer!(self, question, Answer::Chains { rows, more } => (rows, more));
            let last = rows.last().map(|row| row.chain);
            rows.into_iter().try_for_each(&mut each)?;
            match last.filter(|last| more && after < Some(*last)) {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// One chain.
    pub(crate) async fn chain(&self, chain: ChainId) -> Result<ChainRow, Failure> {
        let rows = answer!(self, Question::Chain(chain), Answer::Chains { rows, .. } => rows);
        let found = rows.into_iter().find(|row| row.chain == chain);
        found.ok_or_else(|| {
            Failure::usage(anyhow!("{chain} does not exist")).hint("emberfs chain list shows all")
        })
    }

    /// A version of a table, the newest unless one is named.
    pub(crate) async fn table(
        &self,
        table: ChainTableId,
        version: Option<ChainTableVersion>,
    ) -> Result<(ChainTableVersion, Vec<ChainId>), Failure> {
        let mut wanted = version;
        let mut all: Vec<ChainId> = Vec::new();
        loop {
            let from = u32::try_from(all.len()).expect("a table has at most 2^18 chains");
            let question = Question::Table { table, version: wanted, from };
            let (version, chains, more) = answer!(self, question,
                Answer::Table { version, chains, more } => (version, chains, more));
            // Later pages are of the version that the first was of.
            wanted = Some(version);
            let empty = chains.is_empty();
            all.extend(chains);
            if !more || empty {
                return Ok((version, all));
            }
        }
    }

    /// All sessions, in the order of ids.
    pub(crate) async fn sessions(
        &self,
        mut each: impl FnMut(SessionRow) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after: Option<SessionId> = None;
        loop {
            let question = Question::Sessions(after);
            let (rows, more) =
                answer!(self, question, Answer::Sessions { rows, more } => (rows, more));
            let last = rows.last().map(|row| row.session);
            rows.into_iter().try_for_each(&mut each)?;
            match last.filter(|last| more && after < Some(*last)) {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// The settings of a role that are in force; nothing if only defaults are.
    pub(crate) async fn config(&self, role: NodeRole) -> Result<Option<ConfigEntry>, Failure> {
        Ok(answer!(self, Question::Config(role), Answer::Config(entry) => entry))
    }

    /// All versions of the settings of a role that are kept, oldest first.
    pub(crate) async fn config_history(&self, role: NodeRole) -> Result<Vec<ConfigEntry>, Failure> {
        Ok(answer!(self, Question::ConfigHistory(role), Answer::ConfigHistory(all) => all))
    }

    /// How far the draining of a node is.
    pub(crate) async fn drain(&self, node: NodeId) -> Result<DrainProgress, Failure> {
        Ok(answer!(self, Question::Drain(node), Answer::Drain(progress) => progress))
    }
}
