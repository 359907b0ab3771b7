//! `cargo x tidy`: the rules of the tree that no compiler checks.
//!
//! Each check is a pure function from a model of the tree to findings; this module reads the model
//! (git, manifests, `cargo metadata`) and prints. A check that cannot fail is worthless, so each
//! has a test that shows it failing.

mod confine;
mod docs;
mod layers;
mod licences;
mod names;
mod pure;
mod ratchet;
mod sizes;
mod text;

use std::io::stdout;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use crate::finding::{self, Finding, Paint};
use crate::manifest::{Manifest, manifests};
use crate::tree::{Tree, root};
use crate::{campaign, child, ci};

/// Arguments of `cargo x tidy`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Print the findings as one JSON array
    #[arg(long)]
    json: bool,
    /// Rewrite the list of size exceptions: entries shrink or disappear
    #[arg(long)]
    bless: bool,
    /// With --bless: also admit what is over a limit now, for this reason
    #[arg(long, value_name = "REASON", requires = "bless")]
    grow: Option<String>,
}

/// Prints every finding; `Ok(false)` when there is one.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let root = root()?;
    if args.bless {
        bless(&root, args.grow.as_deref())?;
    }
    let findings = findings(&root)?;
    let mut out = stdout().lock();
    if args.json {
        finding::print_json(&findings, &mut out)
    } else {
        finding::print(&findings, &mut out, Paint::stdout())
    }
    .context("printing the findings")?;
    Ok(findings.is_empty())
}

fn findings(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let manifests = manifests(&tree);
    let host = child::output(child::cargo(&["-vV"]).current_dir(root))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`cargo -vV` names no host")?;
    let metadata = ["metadata", "--format-version", "1", "--filter-platform", host];
    let metadata = child::output(child::cargo(&metadata).current_dir(root))?;
    let graph = licences::Graph::parse(&metadata).context("reading `cargo metadata`")?;

    let mut all = layers::check(&manifests);
    all.extend(sizes::check(&tree));
    all.extend(names::check(&tree));
    all.extend(licences::check(&graph, tree.get("Cargo.lock").map_or("", |lock| &lock.text)));
    all.extend(confine::check(&tree, &manifests));
    all.extend(pure::check(&tree, &manifests));
    all.extend(text::check(&tree));
    all.extend(docs::check(&tree, &known_commands(&manifests)));
    all.sort();
    Ok(all)
}

fn known_commands(manifests: &[Manifest]) -> docs::Known {
    docs::Known {
        subcommands: crate::Cli::command()
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect(),
        campaigns: campaign::names().map(str::to_owned).collect(),
        packages: manifests.iter().filter_map(|manifest| manifest.name.clone()).collect(),
        test_command: ci::test_command(),
    }
}

fn bless(root: &Path, grow: Option<&str>) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    let listed = tree.get(ratchet::PATH).map_or("", |file| &file.text);
    let text = ratchet::blessed(listed, &sizes::oversized(&tree), grow);
    std::fs::write(root.join(ratchet::PATH), text)
        .with_context(|| format!("writing {}", ratchet::PATH))
}
