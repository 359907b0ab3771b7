//! `emberfs kv get` and `range`: single keys, for whoever looks for a mistake.

use core::num::NonZeroUsize;

use anyhow::anyhow;
use engine_runtime::Env;
use meta_kv::engine::redb::{RedbEngine, RedbOptions, RedbSnapshot};
use meta_kv::{
    EngineSnapshot as _, KeyRange, KvEngine as _, Page, RangeRead, Source as _, View as _,
};
use meta_kvd::RemoteView;
use serde::Serialize;

use super::directory;
use super::key::{self, Key};
use super::place::{Found, Place};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::table::{Align, Table};

const GET_EXAMPLES: &str = "\
Examples:
  emberfs kv get 'config/epoch' --cluster cluster.toml                    at 127.0.0.1:7100
  emberfs kv get 'i\\x00\\x00\\x00\\x07' --dir kv --json

Bytes that are no printable ASCII are written \\xNN, a backslash \\\\.";

const RANGE_EXAMPLES: &str = "\
Examples:
  emberfs kv range '' --address 10.0.0.5:7100 --cluster cluster.toml      the first 100 keys
  emberfs kv range 'i\\x00' --config kv.toml --limit 1000 --json
  emberfs kv range 'config/' --dir kv                                     nobody serves it

Bytes that are no printable ASCII are written \\xNN, a backslash \\\\.";

/// Characters of a value in a table.
const VALUE_SHOWN_MAX: usize = 60;

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = GET_EXAMPLES)]
#[group(skip)]
pub(super) struct GetArgs {
    /// The key, other bytes than text as \xNN.
    #[arg(value_name = "KEY")]
    key: Key,

    #[command(flatten)]
    place: Place,

    /// Print key and value as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `range`.
#[derive(Debug, clap::Args)]
#[command(after_help = RANGE_EXAMPLES)]
#[group(skip)]
pub(super) struct RangeArgs {
    /// What the keys begin with; '' is all of them.
    #[arg(value_name = "PREFIX")]
    prefix: Key,

    #[command(flatten)]
    place: Place,

    /// Most entries that are printed.
    #[arg(long, value_name = "N", default_value = "100")]
    limit: NonZeroUsize,

    /// Print each entry as JSON, values whole.
    #[arg(long)]
    pub(super) json: bool,
}

/// One version of a store, wherever it is.
enum Seen<E: Env> {
    /// The engine is kept open with it.
    Local(RedbSnapshot, #[expect(dead_code, reason = "closed when it is dropped")] RedbEngine),
    Remote(RemoteView<E>),
}

#[derive(Serialize)]
struct Entry<'a> {
    key: &'a str,
    value: &'a str,
    value_bytes: usize,
}

impl<E: Env> Seen<E> {
    async fn of(env: &E, place: &Place) -> Result<Self, Failure> {
        match place.find()? {
            Found::Dir(dir) => {
                let engine = directory::open(dir, RedbOptions::default())?;
                Ok(Self::Local(engine.snapshot()?, engine))
            }
            Found::Served(served) => {
                let connected = served.connect(env).await?;
                Ok(Self::Remote(connected.remote.view().await?))
            }
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        meta_kv::key::check_key(key)?;
        Ok(match self {
            Self::Local(snapshot, _) => snapshot.get(key)?,
            Self::Remote(view) => view.get(key.to_vec()).await?,
        })
    }

    async fn range(&self, read: &RangeRead) -> Result<Page, Failure> {
        Ok(match self {
            Self::Local(snapshot, _) => snapshot.range(read)?,
            Self::Remote(view) => view.range(read.clone()).await?,
        })
    }
}

/// Runs `get`.
pub(super) async fn get<E: Env>(
    env: &E,
    args: &GetArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let seen = Seen::of(env, &args.place).await?;
    let shown = key::shown(&args.key.0);
    let Some(found) = seen.get(&args.key.0).await? else {
        return Err(Failure::problem(anyhow!("there is no key \"{shown}\"")));
    };
    let value = key::shown(&found);
    if out.json {
        out.document(&Entry { key: &shown, value: &value, value_bytes: found.len() })?;
    } else {
        out.line(&value)?;
    }
    Ok(Exit::Ok)
}

/// Runs `range`.
pub(super) async fn range<E: Env>(
    env: &E,
    args: &RangeArgs,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let range = match &*args.prefix.0 {
        [] => KeyRange::all(),
        prefix => KeyRange::prefix(prefix)
            .filter(|range| range.check().is_ok())
            .ok_or_else(|| Failure::usage(anyhow!("no key may begin with 0xff")))?,
    };
    let seen = Seen::of(env, &args.place).await?;
    let mut read = RangeRead::new(range);
    let columns = [("key", Align::Left), ("bytes", Align::Right), ("value", Align::Left)];
    let mut table = Table::new(&columns);
    let mut left = args.limit.get();
    let more = loop {
        let page = seen.range(&read.clone().limit(left.min(read.limit))).await?;
        for (found, value) in &page.entries {
            print(out, &mut table, found, value)?;
        }
        left -= page.entries.len();
        match page.entries.last().filter(|_| page.more) {
            Some((last, _)) if 0 < left => read = read.behind(last),
            last => break last.is_some(),
        }
    };
    if !out.json {
        table.finish(out)?;
        if more {
            out.line(&format!("and more: --limit was {}", args.limit))?;
        }
    }
    Ok(Exit::Ok)
}

fn print(out: &mut Output, table: &mut Table, found: &[u8], value: &[u8]) -> Result<(), Failure> {
    let (shown, bytes) = (key::shown(found), value.len());
    let mut text = key::shown(value);
    if out.json {
        return Ok(out.document(&Entry { key: &shown, value: &text, value_bytes: bytes })?);
    }
    if VALUE_SHOWN_MAX < text.len() {
        text.truncate(VALUE_SHOWN_MAX); // escaped text is ASCII
        text.push_str("..");
    }
    Ok(table.row(out, vec![shown.into(), bytes.into(), text.into()])?)
}
