//! Looks at the stores of nodes that have ended, and judges what all of them hold.

use std::collections::BTreeMap;

use engine_runtime::sim::SimEnv;
use engine_shard::{ChunkStore, Listed, Read, Which};
use engine_store::{ChunkKey, Slot};
use engine_types::{ChainId, TargetId};

use super::ground::Ground;
use super::{T98, named, node};
use crate::check::chunks::{Held, Saw, chunk_at_rest};
use crate::check::{Verdict, fail};

/// Slots that are looked into: chains are few.
const SLOTS: u16 = 64;

/// What the stores of one node hold.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// By target: its chain, and its chunks by their number.
    targets: BTreeMap<TargetId, (ChainId, BTreeMap<usize, Held>)>,
    /// Versions that are pending, with their target.
    pendings: Vec<(Option<TargetId>, String)>,
    /// What should not be there, or cannot be read.
    wrong: Vec<String>,
}

/// Opens the stores of a node, one after the other.
pub(super) async fn look(env: &SimEnv, ground: &Ground) -> Audit {
    let mut audit = Audit::default();
    for number in 0..ground.setting.stores {
        let opened =
            ChunkStore::open(env, &node::path(number), ground.setting.config.clone()).await;
        let (store, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                audit.wrong.push(format!("store {number}: {error}"));
                continue;
            }
        };
        for (key, version) in opened.pendings {
            let target = store.target(key.slot).map(|target| target.target);
            let what = format!("store {number}: {key} {version} of {target:?} is pending");
            audit.pendings.push((target, what));
        }
        for slot in (0..SLOTS).map(Slot::new) {
            let Some(target) = store.target(slot) else { continue };
            let chunks = chunks(&store, slot, ground, &mut audit.wrong).await;
            audit.targets.insert(target.target, (target.chain, chunks));
        }
        if let Err(error) = store.close().await {
            audit.wrong.push(format!("store {number}: {error}"));
        }
    }
    audit
}

async fn chunks(
    store: &ChunkStore<SimEnv>,
    slot: Slot,
    ground: &Ground,
    wrong: &mut Vec<String>,
) -> BTreeMap<usize, Held> {
    let mut held = BTreeMap::new();
    let mut after: Option<ChunkKey> = None;
    loop {
        let list = store.list(slot, after, usize::MAX);
        let Some(last) = list.last() else { return held };
        after = Some(last.key);
        for listed in list {
            let Some(index) = ground.index_of(listed.key.chunk) else {
                wrong.push(format!("{} is nobody's", listed.key));
                continue;
            };
            match read(store, &listed, ground.setting.size.bytes()).await {
                Ok(found) => {
                    held.insert(index, found);
                }
                Err(why) => wrong.push(why),
            }
        }
    }
}

async fn read(store: &ChunkStore<SimEnv>, listed: &Listed, len: u32) -> Result<Held, String> {
    let key = listed.key;
    let read = Read { key, offset: 0, len, version: Which::Committed, verify: true };
    let content = store.read(read).await.map_err(|error| error.to_string())?;
    let saw = Saw::of(content.version.get(), content.chunk_len, 0, &content.to_vec());
    Ok(Held { digest: Some(listed.digest), saw })
}

/// T94, T95 and T98.
pub(super) fn judge(ground: &Ground) -> Verdict {
    let audits = ground.audits.borrow();
    for (index, audit) in audits.iter() {
        if let Some(wrong) = audit.wrong.first() {
            return fail(T98, format!("node {index}: {wrong}"));
        }
    }
    let routing = ground.routing().expect("the operator never fails");
    // A target that was removed while its node was away stays there: that routing info does not
    // name it is no proof (R20).
    let is_gone = |target: &TargetId| !routing.targets.contains_key(target);
    for (node, audit) in audits.iter() {
        let gone = audit.targets.keys().find(|target| is_gone(target));
        if let Some(target) = gone.filter(|_| !ground.setting.operates) {
            return fail(T98, format!("node {node} holds {target}, which is in no chain"));
        }
        let mut pendings = audit.pendings.iter();
        let pending = pendings.find(|(target, _)| !target.is_some_and(|target| is_gone(&target)));
        if let Some((_, what)) = pending {
            return fail(T98, format!("node {node}: {what}"));
        }
    }
    for (index, history) in ground.histories.iter().enumerate() {
        let chain = ground.chain_of(index);
        let members = audits.iter().flat_map(|(node, audit)| {
            let of_chain = |target, of| of == chain && !is_gone(target);
            let own = audit.targets.iter().filter(move |(target, (of, _))| of_chain(target, *of));
            own.map(move |(target, (_, chunks))| {
                let held = chunks.get(&index).cloned();
                let nothing = || Held { digest: None, saw: Saw::absent() };
                (format!("{target} of node {node}"), held.unwrap_or_else(nothing))
            })
        });
        let replicas: Vec<(String, Held)> = members.collect();
        let expected = ground.setting.chains[index % ground.setting.chains.len()];
        if replicas.len() != expected {
            return fail(T98, format!("{chain} has {} of {expected} replicas", replicas.len()));
        }
        named(index, history.with(|all| chunk_at_rest(all, &replicas)))?;
    }
    Ok(())
}
