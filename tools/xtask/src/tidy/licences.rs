//! What we stand on: licences, sources and the number of crates, judged from `cargo metadata`.

mod spdx;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde_json::Value;

use crate::finding::Finding;

/// Licences that let an Apache-2.0 project ship binaries without further duties than notices.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Licences admitted for one crate only, with the reason.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "bitmaps",
    "MPL-2.0+",
    "glommio needs it; the licence binds the files of that crate, which we use unchanged",
)];

/// The one registry, under both of its protocols.
const SOURCES: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

/// The default build stays below 200 crates, ours included: it is what a newcomer waits for and
/// what an auditor reads.
pub(crate) const DEFAULT_BUILD_CRATES_MAX: usize = 199;

const WHY_LICENCE: &str = "the project ships under Apache-2.0 and may not inherit other duties";
const WHY_SOURCE: &str = "crates.io keeps what was published; a git or path source can vanish";
const WHY_COUNT: &str = "every crate is build time for a newcomer and code for an auditor";

/// One package of the resolved graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// `None` for a folder on this machine.
    source: Option<String>,
    is_member: bool,
}

/// All packages of the host platform by id, and the edges of the default build.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    packages: BTreeMap<String, Package>,
    /// Normal and build dependencies; those for tests are left out.
    edges: BTreeMap<String, Vec<String>>,
    default_members: Vec<String>,
}

impl Graph {
    /// Reads format version 1.
    pub(crate) fn parse(metadata: &str) -> anyhow::Result<Self> {
        let root: Value = serde_json::from_str(metadata).context("parsing JSON")?;
        let mut graph = Self::default();
        let members = strings(&root["workspace_members"]);
        let nodes = root["resolve"]["nodes"].as_array().context("no resolve.nodes")?;
        for node in nodes {
            let id = node["id"].as_str().context("a node without id")?;
            let edges = node["deps"].as_array().context("a node without deps")?;
            let edges = edges.iter().filter(|edge| is_built(edge));
            let edges = edges.filter_map(|edge| edge["pkg"].as_str().map(str::to_owned));
            graph.edges.insert(id.to_owned(), edges.collect());
        }
        for package in root["packages"].as_array().context("no packages")? {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            let id = text("id").context("a package without id")?;
            // Packages of other platforms are listed, but not resolved.
            if graph.edges.contains_key(&id) {
                let package = Package {
                    name: text("name").context("a package without name")?,
                    version: text("version").context("a package without version")?,
                    licence: text("license"),
                    source: text("source"),
                    is_member: members.contains(&id),
                };
                graph.packages.insert(id, package);
            }
        }
        graph.default_members = strings(&root["workspace_default_members"]);
        Ok(graph)
    }

    /// Everything compiled by a plain `cargo build`.
    fn default_build(&self) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = self.default_members.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.edges.get(id).into_iter().flatten().map(String::as_str));
            }
        }
        seen
    }
}

/// Whether any kind of this edge takes part in a build without tests.
fn is_built(edge: &Value) -> bool {
    let kinds = edge["dep_kinds"].as_array();
    kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Licences and sources of every package, tests included, and the size of the default build.
/// `lock` is the text of `Cargo.lock`, for the lines.
pub(crate) fn check(graph: &Graph, lock: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in graph.packages.values() {
        if let Some(what) = licence(package) {
            let fix = "use another crate; a licence joins the list only with a reason".to_owned();
            found.push(finding(lock_line(package, lock), what, WHY_LICENCE, fix));
        }
        let known = package.source.as_deref().is_some_and(|source| SOURCES.contains(&source));
        if !known && !package.is_member {
            let source = package.source.as_deref().unwrap_or("a folder outside the workspace");
            let what = format!("`{}` {} comes from {source}", package.name, package.version);
            let fix = "depend on a version published on crates.io".to_owned();
            found.push(finding(lock_line(package, lock), what, WHY_SOURCE, fix));
        }
    }
    let count = graph.default_build().len();
    if count > DEFAULT_BUILD_CRATES_MAX {
        let what = format!(
            "the default build compiles {count} crates, at most {DEFAULT_BUILD_CRATES_MAX} are \
             allowed"
        );
        let fix = "drop a dependency or its features: see `cargo tree -e normal,build`".to_owned();
        found.push(finding(0, what, WHY_COUNT, fix));
    }
    found
}

fn licence(package: &Package) -> Option<String> {
    let Package { name, version, licence, .. } = package;
    let Some(expression) = licence else {
        return Some(format!("`{name}` {version} declares no licence"));
    };
    let admitted = |(of, licence, _): &(&str, &str, &str)| of == name && licence == expression;
    if EXCEPTIONS.iter().any(admitted) {
        return None;
    }
    match spdx::allowed(expression, &LICENCES) {
        Ok(true) => None,
        Ok(false) => Some(format!("`{name}` {version} is under `{expression}`, not on the list")),
        Err(why) => Some(format!("`{name}` {version}: licence `{expression}`: {why}")),
    }
}

/// Where the lock file names this version, 0 if it does not.
fn lock_line(package: &Package, lock: &str) -> usize {
    let name = format!("name = \"{}\"", package.name);
    let version = format!("version = \"{}\"", package.version);
    let lines: Vec<&str> = lock.lines().collect();
    let at = lines.windows(2).position(|pair| pair == [name.as_str(), version.as_str()]);
    at.map_or(0, |index| index + 1)
}

fn finding(line: usize, what: String, why: &'static str, fix: String) -> Finding {
    Finding { file: "Cargo.lock".to_owned(), line, check: "licences", what, why, fix }
}

#[cfg(test)]
mod tests;
