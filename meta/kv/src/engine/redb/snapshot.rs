//! Reads of one state of the file.

use std::sync::{Arc, OnceLock};

use ::redb::{ReadOnlyTable, ReadableDatabase};

use super::guard::{Trouble, guarded, sound_key, sound_value};
use super::write::VERSION;
use super::{DATA, META, Open};
use crate::api::{Page, RangeRead};
use crate::engine::page::PageBuilder;
use crate::engine::seam::Seam;
use crate::engine::{EngineError, EngineSnapshot};
use crate::key::Shown;

/// A consistent view. While it lives, pages that it needs are not used again, so the file grows.
///
/// It answers errors from when its engine has failed or is closed; and it may from when an
/// [`EngineError::Full`] was answered, because the file may have been opened again. The engine goes
/// on then, so whoever serves reads takes a new snapshot after every such answer.
#[derive(Clone)]
pub struct RedbSnapshot(Arc<View>);

struct View {
    data: ReadOnlyTable<&'static [u8], &'static [u8]>,
    version: u64,
    seam: Seam,
    failed: Arc<OnceLock<EngineError>>,
}

impl RedbSnapshot {
    pub(super) fn of(open: &Open, failed: Arc<OnceLock<EngineError>>) -> Result<Self, EngineError> {
        let opened = guarded(|| {
            let read = open.database.begin_read()?;
            let version = read.open_table(META)?.get(VERSION)?.map(|version| version.value());
            let Some(version) = version else {
                return Err(Trouble::Damaged("the version is missing".to_owned()));
            };
            Ok((read.open_table(DATA)?, version))
        });
        match opened {
            Ok((data, version)) => {
                Ok(Self(Arc::new(View { data, version, seam: open.seam.clone(), failed })))
            }
            Err(trouble) => Err(fail(&failed, &open.seam, trouble)),
        }
    }

    /// Version of the newest batch in it.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    fn read<T>(&self, call: impl FnOnce() -> Result<T, Trouble>) -> Result<T, EngineError> {
        if let Some(error) = self.0.failed.get() {
            return Err(error.clone());
        }
        guarded(call).map_err(|trouble| fail(&self.0.failed, &self.0.seam, trouble))
    }
}

/// Ends the engine, except for a view of an opening that a full disk has ended: its engine goes
/// on, and the reader asks for a new view.
fn fail(failed: &OnceLock<EngineError>, seam: &Seam, trouble: Trouble) -> EngineError {
    let closed = matches!(trouble, Trouble::Failed(_)) && seam.ended_full();
    let error = trouble.explained(seam);
    if closed {
        return error;
    }
    seam.cut();
    failed.get_or_init(|| error).clone()
}

impl EngineSnapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.read(|| match self.0.data.get(key)? {
            Some(value) => Ok(Some(sound_value(value.value())?.to_vec())),
            None => Ok(None),
        })
    }

    fn range(&self, read: &RangeRead) -> Result<Page, EngineError> {
        let mut page = PageBuilder::new(read);
        if read.range.is_empty() {
            return Ok(page.finish());
        }
        self.read(|| {
            let bounds = read.range.begin.as_slice()..read.range.end.as_slice();
            let mut entries = self.0.data.range(bounds)?;
            loop {
                let entry = if read.reverse { entries.next_back() } else { entries.next() };
                let Some(entry) = entry else { break };
                let (key, value) = entry?;
                let (key, value) = (sound_key(key.value())?, sound_value(value.value())?);
                // Whoever reads page by page would otherwise never come to an end.
                if !read.range.contains(key) || !page.is_next(key, read.reverse) {
                    let reason = format!("key {} is out of place", Shown::of(key));
                    return Err(Trouble::Damaged(reason));
                }
                if !page.push(key, value) {
                    break;
                }
            }
            Ok(page.finish())
        })
    }
}
