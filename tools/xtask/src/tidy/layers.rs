//! Every arrow between our crates points to a lower layer, so that a change below can never need
//! one above, and a crate is found by its name.

use crate::finding::Finding;
use crate::manifest::{Dependency, DependencyKind, Manifest};

/// The one binary of the operator: nothing stands on it, not even a test.
const TOP: u32 = 7;

const WHY_LAYER: &str = "layers keep the crates below usable and testable without those above";
const WHY_NAME: &str = "a crate is named by its path with dashes, so it is found without a search";

/// Names and layers of members, and each dependency between them.
pub(crate) fn check(manifests: &[Manifest]) -> Vec<Finding> {
    let mut found = Vec::new();
    for manifest in manifests {
        let Some(name) = &manifest.name else { continue };
        let expected = manifest.folder.replace('/', "-");
        if *name != expected {
            let what = format!("package is named `{name}`, its folder says `{expected}`");
            found.push(finding(manifest, 0, what, WHY_NAME, format!("name = \"{expected}\"")));
        }
        if !manifest.is_member() {
            continue;
        }
        let fix = format!("[package.metadata] layer = 0..={TOP}, from the map of the layers");
        match manifest.layer {
            None => found.push(finding(manifest, 0, "no layer declared".into(), WHY_LAYER, fix)),
            Some(layer) if layer > TOP => {
                let what = format!("layer {layer} is above the top layer {TOP}");
                found.push(finding(manifest, 0, what, WHY_LAYER, fix));
            }
            Some(layer) => found.extend(
                manifest.dependencies.iter().filter_map(|d| arrow(manifest, layer, d, manifests)),
            ),
        }
    }
    found
}

fn arrow(from: &Manifest, layer: u32, to: &Dependency, all: &[Manifest]) -> Option<Finding> {
    let target = all.iter().find(|manifest| manifest.name.as_ref() == Some(&to.package))?;
    let below = target.layer?;
    let allowed = match to.kind {
        DependencyKind::Dev => below < TOP,
        DependencyKind::Normal | DependencyKind::Build => below < layer,
    };
    if allowed {
        return None;
    }
    let what = format!(
        "layer {layer} has a {:?} dependency on `{}`, which is layer {below}",
        to.kind, to.package
    );
    let fix = "move what is needed into a lower crate, or pass it in as a parameter".to_owned();
    Some(finding(from, to.line, what, WHY_LAYER, fix))
}

fn finding(at: &Manifest, line: usize, what: String, why: &'static str, fix: String) -> Finding {
    Finding { file: at.path(), line, check: "layers", what, why, fix }
}

#[cfg(test)]
mod tests;
