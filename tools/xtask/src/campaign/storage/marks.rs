//! Which marks a campaign has to reach, and which of them it did not reach often enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::tree::Tree;

/// What replicated storage is: all its marks count.
const FOLDERS: [&str; 5] = [
    "client/storage/src",
    "engine/craq/src",
    "engine/links/src",
    "engine/storaged/src",
    "tools/sim/src/scenarios/storage",
];
/// Below them, marks of R, L6 and W2 count as well: rules that others keep for it.
const BENEATH: [&str; 2] = ["engine", "mgmt"];
/// How often is often enough.
const OFTEN: u64 = 100;

/// Marks that these worlds cannot reach: why, and the test that does.
const EXEMPT: &[(&str, &str)] = &[
    (
        "E342: a forward of an earlier dialogue",
        "model worlds of engine/craq, and one world in 300; links are in order and end whole, so \
         that hardly anything of an earlier dialogue comes (E366, E367)",
    ),
    (
        "E342: a message of an earlier dialogue with the predecessor",
        "model worlds of engine/craq; links are in order and end whole (E366, E367)",
    ),
    (
        "E342: a message of an earlier dialogue with the successor",
        "model worlds of engine/craq; links are in order and end whole (E366, E367)",
    ),
    (
        "E342: a message of who is no neighbour in this version",
        "model worlds of engine/craq; one chain version has one membership (T80), and a peer of \
         a former start is not heard",
    ),
    (
        "E352: a shipment of requests that nobody waits for",
        "tables of engine/craq; a link answers a shipment once, in its dialogue",
    ),
    (
        "E343: the end of a payload that was discarded",
        "tables of engine/craq; the daemon ends a stream once (E382)",
    ),
    (
        "R14: a repeated request is answered from memory",
        "cargo test -p engine-store; a store behind a replica is not asked",
    ),
    (
        "R16: a session that has ended is not forgotten yet",
        "one world in 9,000: a node asks about sessions one beat after it has dropped what was in \
         flight; only one whose lease ran out under a stop of all chains can be slower",
    ),
    (
        "R18: an update waits for blocks that were dropped",
        "cargo x sim --scenario store; a segment has 64 MiB, all chunks of a world together 18: \
         what is full here is the host (`Fault::Space`), not the store",
    ),
    (
        "W2: a payload waits for room among all peers",
        "cargo test -p engine-net; 16 operations at a time have a MiB of payloads without \
         credit, a quarter of the smallest pool 4 MiB",
    ),
];

/// What a campaign reached of what it has to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judged {
    /// All of them, with the place where those that are exempt are reached.
    counts: BTreeMap<String, (u64, Option<&'static str>)>,
    /// Those that are reached too seldom.
    pub(super) rare: Vec<String>,
}

/// The marks that have to be reached.
pub(super) fn of_tree(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let tree = Tree::read(root)?;
    let mut wanted = BTreeSet::new();
    let shipped = tree.0.iter().filter(|file| file.is_rust() && !file.path.ends_with("tests.rs"));
    for file in shipped {
        let own = FOLDERS.iter().any(|folder| file.is_in(folder));
        let beneath = BENEATH.iter().any(|folder| file.is_in(folder));
        let all = marks_in(&file.text).into_iter();
        wanted.extend(all.filter(|mark| own || beneath && is_of_rule(mark)));
    }
    Ok(wanted)
}

fn is_of_rule(mark: &str) -> bool {
    let rule = mark.split(':').next().unwrap_or_default();
    let number = rule.strip_prefix('R').unwrap_or_default();
    let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    is_number || ["L6", "W2"].contains(&rule)
}

/// Names in `reached!("…")`, outside comments.
fn marks_in(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let after = code.split("reached!(").skip(1);
    let names = after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    names.map(str::to_owned).collect()
}

pub(super) fn judge(reached: &BTreeMap<String, u64>, wanted: &BTreeSet<String>) -> Judged {
    let mut judged = Judged::default();
    for mark in wanted {
        let count = reached.get(mark).copied().unwrap_or_default();
        let exempt =
            EXEMPT.iter().find(|(name, _)| name == mark).map(|(_, where_else)| *where_else);
        if count < OFTEN && exempt.is_none() {
            judged.rare.push(mark.clone());
        }
        judged.counts.insert(mark.clone(), (count, exempt));
    }
    judged
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "marks")?;
        for (mark, (count, exempt)) in &self.counts {
            match exempt {
                Some(where_else) => writeln!(f, "  {count:>9}  {mark}; reached by {where_else}")?,
                None => writeln!(f, "  {count:>9}  {mark}")?,
            }
        }
        if self.rare.is_empty() {
            return writeln!(f, "every mark was reached {OFTEN} times");
        }
        writeln!(f, "reached less than {OFTEN} times")?;
        self.rare.iter().try_for_each(|mark| writeln!(f, "  {mark}"))
    }
}

#[cfg(test)]
mod tests;
