//! `emberfs fsck`: metadata against itself and against the chunks of all chains, while the cluster
//! serves.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow};
use engine_runtime::{CoreSpec, Env};
use meta_kv::OwnKv;
use meta_kvd::Remote;
use meta_metad::fsck::{
    Cluster, ClusterError, Found, FsckReport, FsckSettings, Repair, fsck_cluster,
};
use serde::Serialize;

use crate::config::HostPort;
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::{Colour, Output};
use crate::progress::Progress;
use crate::run;
use crate::table::{Align, Cell, Column, Table};

#[cfg(test)]
mod tests;

const EXAMPLES: &str = "\
Examples:
  emberfs fsck --cluster cluster.toml --kv 10.0.0.5:7100 --managers 10.0.0.6:7200
  emberfs fsck --no-chunks                     metadata alone: asks no storage node
  emberfs fsck --repair                        repairs what it finds, after asking
  emberfs fsck --repair --yes --json           repairs without asking, for scripts

It runs while the cluster serves: what looks wrong is looked at again in one transaction before it
is told. Some 150 bytes of memory are taken per file. What has lost its name is found in
/lost+found as #INODE. Bytes that are lost stay lost; which chunks a file should have is not known
where holes are legal, so only files that have none left are told of.

Exit codes, as those of fsck(8): 0 nothing is wrong; 1 everything that was is repaired; 2 wrong
arguments; 3 nobody answers; 4 something is left as it was, or could not be looked at.";

/// Columns of the table of findings.
const COLUMNS: [Column; 3] = [("KIND", Align::Left), ("STATE", Align::Left), ("WHAT", Align::Left)];

/// Check the file system: metadata and chunks, and repair it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the key-value store is served; by default 127.0.0.1:7100.
    #[arg(long, value_name = "HOST:PORT")]
    kv: Option<HostPort>,

    /// Repair what is wrong. It is asked for first, unless --yes says so.
    #[arg(long)]
    repair: bool,

    /// Repair without asking.
    #[arg(long, requires = "repair")]
    yes: bool,

    /// Leave chunks out: metadata alone.
    #[arg(long)]
    no_chunks: bool,

    #[command(flatten)]
    managers: Managers,
}

/// How it ended, in the manner of fsck(8).
fn end(report: &FsckReport) -> Exit {
    let is_asked = report.unasked.is_empty() && report.unknown_sessions == 0;
    match (report.left(), report.findings.is_empty()) {
        (0, true) if is_asked => Exit::Ok,
        (0, false) if is_asked => Exit::Problem,
        _ => Exit::Left,
    }
}

/// One finding, for programs.
#[derive(Serialize)]
struct FindingReport {
    kind: &'static str,
    what: String,
    /// `found`, `repaired` or `left`.
    state: &'static str,
    /// Why it is left.
    why: Option<String>,
}

/// What was seen, for programs: the last document.
#[derive(Serialize)]
struct SummaryReport {
    inodes: u64,
    keys: u64,
    chunks: u64,
    findings: u64,
    left: u64,
    /// Inodes that changed too often to be judged by their names.
    busy: u64,
    unasked_chains: Vec<u32>,
    unknown_sessions: u64,
    rounds: u32,
    exit_code: u8,
}

const fn state(repair: &Repair) -> (&'static str, Option<Colour>) {
    match repair {
        Repair::Reported => ("found", Some(Colour::Red)),
        Repair::Repaired => ("repaired", Some(Colour::Green)),
        Repair::Left(_) => ("left", Some(Colour::Red)),
    }
}

/// Runs the check.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let json = args.managers.json;
    run::on_core(json, CoreSpec::new("emberfs-fsck"), move |env| async move {
        let mut out = Output::standard(json);
        let done = perform(&env, &args, &mut out).await;
        out.flush()?;
        done
    })
}

async fn perform<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let first = check(env, args, false).await?;
    let asks = args.repair && first.left() != 0;
    if !asks || (!args.yes && !agreed(&first)?) {
        return tell(out, &first);
    }
    let mended = check(env, args, true).await?;
    // What went by itself meanwhile is neither.
    tell(out, &mended)
}

/// One check, with a word of how far it is.
async fn check<E: Env>(env: &E, args: &Args, repair: bool) -> Result<FsckReport, Failure> {
    let access = args.managers.access(env).await?;
    let kv = args.kv.clone().unwrap_or_else(crate::kv::listen_default);
    let found = kv.resolve().with_context(|| format!("cannot find the kv {kv}"));
    let kv = found.map_err(Failure::environment)?[0];
    let net = access.cluster.operator(env);
    let cluster = Cluster {
        net: net.clone(),
        kv: OwnKv::new(env.clone(), Remote::new(env, net, kv)),
        managers: access.seeds.clone(),
        process: std::process::id(),
        host: String::new(),
    };
    let settings = FsckSettings { repair, chunks: !args.no_chunks, ..FsckSettings::default() };
    let mut line = Progress::new("checking");
    let now = env.clone();
    let told = |at: meta_metad::fsck::Progress| {
        let text = format!("round {}: {}, {}", at.round, at.stage, at.done);
        line.say(now.now(), &text);
    };
    fsck_cluster(env, cluster, settings, told).await.map_err(failure)
}

fn failure(error: ClusterError) -> Failure {
    match error {
        ClusterError::NoFileSystem => Failure::environment(error)
            .hint("a first `emberfs meta serve` makes one; is --kv the store of this cluster?"),
        ClusterError::Open(_) => Failure::environment(error)
            .hint("each cluster has a kv of its own, and a format its version; see --kv"),
        ClusterError::Managers(_) => Failure::environment(error)
            .hint("emberfs mgmt status shows the managers, and whether one is primary"),
        ClusterError::Fsck(_) => {
            Failure::environment(error).hint("what was repaired before is repaired; run it again")
        }
    }
}

/// Asks whoever sits there.
fn agreed(report: &FsckReport) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let error = anyhow!("{} findings, and nobody to ask whether to repair them", report.left());
        return Err(Failure::usage(error).hint("--yes repairs without asking"));
    }
    let mut err = io::stderr().lock();
    for found in report.findings.iter().take(SHOWN_MAX) {
        // A terminal that takes no words answers no question, either.
        let _ = writeln!(err, "  {}", found.finding);
    }
    let _ = write!(err, "repair {} findings? [y/N] ", report.left());
    let _ = err.flush();
    let mut answer = String::new();
    stdin.read_line(&mut answer).context("standard input").map_err(Failure::environment)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Findings that are shown before the question: a screen.
const SHOWN_MAX: usize = 20;

/// Prints findings, and what was seen.
fn tell(out: &mut Output, report: &FsckReport) -> Result<Exit, Failure> {
    let end = end(report);
    if out.json {
        for Found { finding, repair } in &report.findings {
            let why = match repair {
                Repair::Left(why) => Some(why.clone()),
                _ => None,
            };
            let (kind, what) = (finding.kind(), finding.to_string());
            out.document(&FindingReport { kind, what, state: state(repair).0, why })?;
        }
        out.document(&SummaryReport {
            inodes: report.inodes,
            keys: report.keys,
            chunks: report.chunks,
            findings: report.findings.len() as u64 + report.more,
            left: report.left(),
            busy: report.busy,
            unasked_chains: report.unasked.iter().map(|(chain, _)| chain.get()).collect(),
            unknown_sessions: report.unknown_sessions,
            rounds: report.rounds,
            exit_code: end as u8,
        })?;
        return Ok(end);
    }
    if !report.findings.is_empty() {
        let mut table = Table::new(&COLUMNS);
        for Found { finding, repair } in &report.findings {
            let (word, colour) = state(repair);
            let cell = colour.map_or_else(|| word.into(), |colour| Cell::coloured(word, colour));
            let what = match repair {
                Repair::Left(why) => format!("{finding}: {why}"),
                _ => finding.to_string(),
            };
            table.row(out, vec![finding.kind().into(), cell, what.into()])?;
        }
        table.finish(out)?;
    }
    for line in remarks(report) {
        out.line(&line)?;
    }
    Ok(end)
}

/// What there is to say beside the findings.
fn remarks(report: &FsckReport) -> Vec<String> {
    let mut lines = Vec::new();
    if report.more != 0 {
        lines.push(format!(
            "{} more were not looked at: repair these, and check again",
            report.more
        ));
    }
    for (chain, why) in &report.unasked {
        lines.push(format!("{chain} did not say what it has: {why}"));
    }
    if report.unknown_sessions != 0 {
        let count = report.unknown_sessions;
        lines.push(format!("whether {count} sessions are over is not known"));
    }
    if report.busy != 0 {
        lines.push(format!("{} files changed too often to count their names", report.busy));
    }
    let FsckReport { inodes, keys, chunks, .. } = report;
    let found = report.findings.len() as u64 + report.more;
    let left = report.left();
    lines.push(format!(
        "{inodes} files and directories, {keys} keys, {chunks} chunks: {found} findings, \
         {left} left"
    ));
    lines
}
