//! `emberfs session`: the sessions of clients.

use clap::Subcommand;
use engine_runtime::{CoreSpec, Env};
use engine_types::SessionId;
use mgmt_cluster::session::{SESSION_ROWS_PER_CHANGE_MAX, SessionState};
use mgmt_protocol::{Operation, SessionRow};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::manager::{Managers, did_all};
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Column, Table};
use crate::{ids, run, text, words};

const LIST_EXAMPLES: &str = "\
Examples:
  emberfs session list                       the live ones
  emberfs session list --all --json          with revoked ones that are still remembered

Everything that a client owns hangs on its session: locks, open files, writes on the way. A revoked
session is fenced when nothing of it can happen any more; then its locks are given away.";

const REVOKE_EXAMPLES: &str = "\
Examples:
  emberfs session revoke session-17
  emberfs session revoke 17 18 19 --json

The client cannot write any more and loses its locks and open files; what it has written and synced
stays. It opens a new session by itself if it lives. There is no way back.";

/// What to do with sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the sessions of clients.
    List(ListArgs),
    /// End sessions: for clients that hold locks and do not answer.
    Revoke(RevokeArgs),
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    /// List revoked sessions as well.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    managers: Managers,
}

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = REVOKE_EXAMPLES)]
struct RevokeArgs {
    /// The sessions: session-17 or 17.
    #[arg(value_name = "SESSION", value_parser = ids::parse::<SessionId>, required = true)]
    sessions: Vec<SessionId>,

    #[command(flatten)]
    managers: Managers,
}

/// A session, for programs.
#[derive(Serialize)]
struct Report {
    session: String,
    /// `live`, or why it ended.
    state: &'static str,
    /// The routing version that says so.
    revoked_in: Option<u64>,
    fenced: bool,
    /// How long ago a live one was heard.
    silent_ms: Option<u64>,
    name: String,
    host: String,
    process: u32,
    client: String,
    epoch: u32,
    /// The routing version in force when it was opened.
    opened_in: u64,
}

impl Report {
    fn of(row: &SessionRow) -> Self {
        let client = row.record.client.clone();
        let revoked_in = match row.record.state {
            SessionState::Live => None,
            SessionState::Revoked { at, .. } => Some(at.get()),
        };
        let millis = |time: core::time::Duration| u64::try_from(time.as_millis());
        Self {
            session: row.session.to_string(),
            state: words::session_state(row.record.state),
            revoked_in,
            fenced: row.fenced,
            silent_ms: row.silent.map(|silent| millis(silent).unwrap_or(u64::MAX)),
            name: client.name,
            host: client.host,
            process: client.process,
            client: client.uuid.to_string(),
            epoch: client.epoch,
            opened_in: row.record.opened.get(),
        }
    }
}

const COLUMNS: &[Column] = &[
    ("session", Align::Left),
    ("state", Align::Left),
    ("heard", Align::Right),
    ("host", Align::Left),
    ("process", Align::Right),
    ("name", Align::Left),
];

fn cells(row: &SessionRow) -> Vec<Cell> {
    let word = words::session_state(row.record.state);
    let state = match row.record.state {
        SessionState::Live => Cell::coloured(word, Colour::Green),
        SessionState::Revoked { .. } if row.fenced => format!("{word}, fenced").into(),
        SessionState::Revoked { .. } => word.into(),
    };
    let client = &row.record.client;
    vec![
        row.session.into(),
        state,
        row.silent.map_or_else(|| "-".to_owned(), text::duration).into(),
        client.host.as_str().into(),
        client.process.into(),
        client.name.as_str().into(),
    ]
}

impl Verb {
    const fn managers(&self) -> &Managers {
        match self {
            Self::List(args) => &args.managers,
            Self::Revoke(args) => &args.managers,
        }
    }
}

/// Runs a verb.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let json = args.verb.managers().json;
    run::on_core(json, CoreSpec::new("emberfs"), |env| perform(env, args.verb))
}

async fn perform<E: Env>(env: E, verb: Verb) -> Result<Exit, Failure> {
    let mut out = Output::standard(verb.managers().json);
    let done = match verb {
        Verb::List(args) => list(&env, &args, &mut out).await,
        Verb::Revoke(args) => revoke(&env, &args, &mut out).await,
    };
    out.flush()?;
    done
}

async fn list<E: Env>(env: &E, args: &ListArgs, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let mut table = Table::new(COLUMNS);
    let each = |row: SessionRow| {
        if !args.all && !row.record.is_live() {
            return Ok(());
        }
        if out.json {
            return Ok(out.document(&Report::of(&row))?);
        }
        Ok(table.row(out, cells(&row))?)
    };
    access.sessions(each).await?;
    if !out.json {
        table.finish(out)?;
    }
    Ok(Exit::Ok)
}

async fn revoke<E: Env>(env: &E, args: &RevokeArgs, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let mut all = Vec::new();
    for part in args.sessions.chunks(SESSION_ROWS_PER_CHANGE_MAX) {
        let asked = Operation::RevokeSessions(part.to_vec());
        all.push(access.operate(asked, "emberfs session list --all").await?);
    }
    did_all(out, &all, "revoked; `emberfs session list --all` shows when they are fenced")?;
    Ok(Exit::Ok)
}
