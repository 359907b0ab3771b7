//! What processes that serve say about themselves while they run: events of `tracing`, a line each,
//! on standard error. Whoever runs them as a service has them in the journal of the system.

use tracing::level_filters::LevelFilter;

use crate::exit::Failure;

/// Variable of the environment for those who give no flag.
const VARIABLE: &str = "EMBERFS_LOG";
/// What an operator wants to see of a process that works: who is primary, what was founded, what
/// goes wrong.
const DEFAULT: Level = Level::Info;

/// From which level on events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Arguments of whatever serves.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// What it says while it runs, on standard error; EMBERFS_LOG without it, else info.
    #[arg(long, value_name = "LEVEL", value_enum)]
    log: Option<Level>,
}

impl LogArgs {
    /// Prints events from now on.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        let level = match self.log {
            Some(level) => level,
            None => of_environment(std::env::var(VARIABLE).ok().as_deref())?,
        };
        let lines = tracing_subscriber::fmt().with_writer(std::io::stderr);
        let lines = lines.with_max_level(LevelFilter::from(level));
        // A second one would be a second role in one process: the first one speaks for both.
        let _ = lines.try_init();
        Ok(())
    }
}

/// What the variable says.
fn of_environment(value: Option<&str>) -> Result<Level, Failure> {
    let Some(value) = value else { return Ok(DEFAULT) };
    <Level as clap::ValueEnum>::from_str(value, true).map_err(|_| {
        let why = anyhow::anyhow!(
            "{VARIABLE} is {value:?}, expected off, error, warn, info, debug or trace"
        );
        Failure::usage(why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_the_environment() {
        assert_eq!(of_environment(None).unwrap(), Level::Info);
        assert_eq!(of_environment(Some("WARN")).unwrap(), Level::Warn);
        let wrong = of_environment(Some("loud")).unwrap_err();
        assert!(wrong.error.to_string().contains("\"loud\""), "{}", wrong.error);
    }
}
