//! A new store filled in key order, for restores.

use std::sync::Arc;

use super::birth::{self, Beginning};
use super::guard::guarded;
use super::{DATA, Open, RedbOptions, write};
use crate::engine::directory::OpenError;
use crate::engine::file::Device;

/// An unfinished store: without [`Loader::finish`] it has no format version, and never opens.
pub(crate) struct Loader {
    device: Arc<dyn Device>,
    open: Option<Open>,
}

impl Loader {
    /// On an empty device.
    pub(crate) fn new(device: Arc<dyn Device>) -> Result<Self, OpenError> {
        let open = birth::open_empty(&device, &RedbOptions::default())?;
        Ok(Self { device, open: Some(open) })
    }

    /// Adds entries.
    pub(crate) fn put(&mut self, entries: &[(&[u8], &[u8])]) -> Result<(), OpenError> {
        let open = self.open.as_ref().expect("until it is finished");
        let put = guarded(|| {
            let transaction = open.database.begin_write()?;
            {
                let mut data = transaction.open_table(DATA)?;
                for &(key, value) in entries {
                    data.insert(key, value)?;
                }
            }
            Ok(transaction.commit()?)
        });
        put.map_err(|trouble| birth::told(trouble, &open.seam, &self.device))
    }

    /// Makes it a store, durably.
    pub(crate) fn finish(mut self, beginning: Beginning) -> Result<(), OpenError> {
        let open = self.open.take().expect("finished once");
        let finished = guarded(|| {
            let transaction = write::begin(&open)?;
            birth::begin_store(&transaction, beginning)?;
            transaction.open_table(DATA)?;
            Ok(transaction.commit()?)
        });
        let result = finished.map_err(|trouble| birth::told(trouble, &open.seam, &self.device));
        super::close(open);
        result
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.seam.cut();
            super::close(open);
        }
    }
}
