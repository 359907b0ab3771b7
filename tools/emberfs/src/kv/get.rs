//! `emberfs kv get` and `range`: single keys, for whoever looks for a mistake.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::value_parser;
use engine_runtime::Env;
use meta_kv::engine::redb::{RedbEngine, RedbOptions, RedbSnapshot};
use meta_kv::{
    EngineSnapshot as _, KeyRange, KvEngine as _, Page, RangeRead, Source as _, View as _,
};
use meta_kvd::RemoteView;
use serde::Serialize;

use super::connect::Served;
use super::directory;
use super::key::{self, Key};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::table::{Align, Table};

const GET_EXAMPLES: &str = "\
Examples:
  emberfs kv get 'config/epoch' --address 127.0.0.1:7100 --cluster cluster.toml
  emberfs kv get 'i\\x00\\x00\\x00\\x07' --dir kv --json

Bytes that are no printable ASCII are written \\xNN, a backslash \\\\.";

const RANGE_EXAMPLES: &str = "\
Examples:
  emberfs kv range '' --address 127.0.0.1:7100 --cluster cluster.toml     the first 100 keys
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
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u64).range(1..))]
    limit: u64,

    /// Print each entry as JSON, values whole.
    #[arg(long)]
    pub(super) json: bool,
}

/// A store: served, or in a directory.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Place {
    /// Directory of a store that nobody serves.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["address", "cluster", "config"])]
    dir: Option<PathBuf>,

    #[command(flatten)]
    served: Served,
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

impl Place {
    async fn see<E: Env>(&self, env: &E) -> Result<Seen<E>, Failure> {
        if let Some(dir) = &self.dir {
            let engine = directory::open(dir, RedbOptions::default())?;
            return Ok(Seen::Local(engine.snapshot()?, engine));
        }
        if !self.served.is_given() {
            let why = anyhow!("no store is named");
            let hint = "give --dir, or --address with --cluster, or --config";
            return Err(Failure::usage(why).hint(hint));
        }
        let connected = self.served.connect(env).await?;
        Ok(Seen::Remote(connected.remote.view().await?))
    }
}

impl<E: Env> Seen<E> {
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
    let seen = args.place.see(env).await?;
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
    let seen = args.place.see(env).await?;
    let mut read = RangeRead::new(range);
    let columns = [("key", Align::Left), ("bytes", Align::Right), ("value", Align::Left)];
    let mut table = Table::new(&columns);
    let mut left = usize::try_from(args.limit).unwrap_or(usize::MAX);
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
