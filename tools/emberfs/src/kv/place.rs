//! Where a store is: served by a process, or in a directory that nobody serves.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::connect::Served;
use crate::exit::Failure;

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

/// Which of both.
pub(super) enum Found<'a> {
    /// A directory.
    Dir(&'a Path),
    /// A process.
    Served(&'a Served),
}

impl Place {
    /// What was named.
    pub(super) fn find(&self) -> Result<Found<'_>, Failure> {
        match &self.dir {
            Some(dir) => Ok(Found::Dir(dir)),
            None if self.served.is_given() => Ok(Found::Served(&self.served)),
            None => Err(Failure::usage(anyhow!("no store is named")).hint(
                "give --dir for a directory that nobody serves; for a store that is served, give \
                 --cluster or set EMBERFS_CLUSTER, with --address unless it is 127.0.0.1:7100",
            )),
        }
    }
}
