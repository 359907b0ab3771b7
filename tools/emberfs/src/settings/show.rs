//! `emberfs settings show`: values, defaults, bounds and what they mean.

use anyhow::anyhow;
use engine_runtime::Env;
use engine_types::NodeRole;
use mgmt_cluster::config::{Apply, ConfigEntry, ConfigVersion, Settings};
use serde::Serialize;

use super::load;
use crate::exit::{Exit, Failure};
use crate::manager::Managers;
use crate::output::{Colour, Output};
use crate::table::{Align, Cell, Table};
use crate::words;

const EXAMPLES: &str = "\
Examples:
  emberfs settings show manager
  emberfs settings show manager --help-text      with bounds and meaning
  emberfs settings show manager --json

Values are those in force; what was set is marked. Settings hold for all processes of a role.";

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Whose settings: manager is the role that has some.
    #[arg(value_name = "ROLE", value_parser = words::parse_role)]
    role: NodeRole,

    /// Say of each setting what it means and what is allowed.
    #[arg(long)]
    help_text: bool,

    #[command(flatten)]
    pub(super) managers: Managers,
}

/// A setting, for programs.
#[derive(Serialize)]
struct SettingReport {
    name: &'static str,
    value: String,
    default: String,
    /// Whether it was set.
    set: bool,
    allowed: String,
    /// `hot` or `restart`.
    takes_effect: &'static str,
    help: &'static str,
}

#[derive(Serialize)]
struct Report {
    role: &'static str,
    /// 0 if nothing was ever set.
    version: u64,
    note: Option<String>,
    settings: Vec<SettingReport>,
    /// What is set and not known here: name and value.
    ignored: Vec<(String, String)>,
}

/// Runs the verb.
pub(super) async fn run<E: Env>(env: &E, args: &Args, out: &mut Output) -> Result<Exit, Failure> {
    let access = args.managers.access(env).await?;
    let entry = access.config(args.role).await?;
    let config = load(args.role, entry.as_slice())?;
    let Some(config) = config else { return unknown(args.role, entry, out) };
    let (version, settings) = config.current(args.role).map_err(Failure::environment)?;
    if out.json {
        out.document(&report(args.role, version, entry.as_ref(), settings))?;
    } else {
        print(out, args, version, entry.as_ref(), settings)?;
    }
    Ok(Exit::Ok)
}

/// A role whose settings this binary does not know: what was set, as it is written.
fn unknown(role: NodeRole, entry: Option<ConfigEntry>, out: &mut Output) -> Result<Exit, Failure> {
    let Some(entry) = entry else {
        let role = words::role(role);
        return Err(Failure::usage(anyhow!("{role} has no settings")).hint("manager has some"));
    };
    if out.json {
        let ignored = entry.text.lines().filter_map(|line| line.split_once('='));
        let ignored = ignored.map(|(name, value)| (name.trim().into(), value.trim().into()));
        let (role, version) = (words::role(role), entry.version.get());
        let (note, settings) = (Some(entry.note.clone()), Vec::new());
        out.document(&Report { role, version, note, settings, ignored: ignored.collect() })?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("{} of {}, not known here:", entry.version, words::role(role)))?;
    entry.text.lines().try_for_each(|line| out.line(line))?;
    Ok(Exit::Ok)
}

fn report(
    role: NodeRole,
    version: ConfigVersion,
    entry: Option<&ConfigEntry>,
    settings: &Settings,
) -> Report {
    let all = settings.schema().settings().iter().map(|setting| SettingReport {
        name: setting.name,
        value: value(settings, setting.name),
        default: setting.range.default_value().to_string(),
        set: settings.is_set(setting.name),
        allowed: setting.range.describe(),
        takes_effect: match setting.apply {
            Apply::Hot => "hot",
            Apply::Restart => "restart",
        },
        help: setting.help,
    });
    Report {
        role: words::role(role),
        version: version.get(),
        note: entry.map(|entry| entry.note.clone()),
        settings: all.collect(),
        ignored: settings.ignored().map(|(name, raw)| (name.to_owned(), raw.to_owned())).collect(),
    }
}

fn value(settings: &Settings, name: &str) -> String {
    settings.get(name).expect("the name is of its schema").to_string()
}

fn print(
    out: &mut Output,
    args: &Args,
    version: ConfigVersion,
    entry: Option<&ConfigEntry>,
    settings: &Settings,
) -> Result<(), Failure> {
    let role = words::role(args.role);
    match entry {
        None => out.line(&format!("settings of {role}: nothing is set, defaults are in force"))?,
        Some(entry) if entry.note.is_empty() => {
            out.line(&format!("settings of {role}, {version}"))?;
        }
        Some(entry) => out.line(&format!("settings of {role}, {version}: {}", entry.note))?,
    }
    out.line("")?;
    if args.help_text {
        settings.print_all().lines().try_for_each(|line| out.line(line))?;
        return Ok(());
    }
    let titles = ["setting", "value", "default", "allowed", "takes effect"];
    let mut table = Table::new(&titles.map(|title| (title, Align::Left)));
    for setting in settings.schema().settings() {
        let value = value(settings, setting.name);
        let value = match settings.is_set(setting.name) {
            true => Cell::coloured(format!("{value} (set)"), Colour::Bold),
            false => value.into(),
        };
        let effect = match setting.apply {
            Apply::Hot => "at once",
            Apply::Restart => "at the next start",
        };
        let default = setting.range.default_value();
        let cells = vec![
            setting.name.into(),
            value,
            default.into(),
            setting.range.describe().into(),
            effect.into(),
        ];
        table.row(out, cells)?;
    }
    table.finish(out)?;
    for (name, raw) in settings.ignored() {
        out.line(&format!("without effect, as it is not known here: {name} = {raw}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
