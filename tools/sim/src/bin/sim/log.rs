//! What processes of a world say, each line with the time of the world and the node.

use core::fmt;

use anyhow::anyhow;
use engine_runtime::sim::who;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

struct World;

impl FormatTime for World {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (nanos, node) = who::runs();
        write!(to, "{:4}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)?;
        match node {
            Some(node) => write!(to, " node-{node}"),
            None => write!(to, " world"),
        }
    }
}

/// Prints events from now on.
pub(crate) fn begin(level: LevelFilter) -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_timer(World);
    let lines = lines.with_max_level(level).with_ansi(false);
    lines.try_init().map_err(|error| anyhow!("no log: {error}"))
}
