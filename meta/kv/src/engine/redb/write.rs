//! One batch as one write transaction.

use ::redb::{ReadableTable, Table, WriteTransaction};

use super::guard::{Trouble, sound_value};
use super::{DATA, META, Open};
use crate::engine::Batch;
use crate::engine::file::is_full;
use crate::mutation::Mutation;

/// Name of the version in the table `meta`.
pub(super) const VERSION: &str = "version";

/// A transaction in the mode that ships (module header of the engine).
pub(super) fn begin(open: &Open) -> Result<WriteTransaction, Trouble> {
    let mut transaction = open.database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Writes `batch` durably (E214), or nothing of it.
pub(super) fn apply(open: &Open, batch: &Batch) -> Result<(), Trouble> {
    open.seam.grow_freely();
    let transaction = begin(open)?;
    {
        let mut data = transaction.open_table(DATA)?;
        for mutation in &batch.mutations {
            mutate(&mut data, mutation)?;
        }
        transaction.open_table(META)?.insert(VERSION, batch.version)?;
    }
    if let Err(error) = open.seam.claim_growth() {
        if !is_full(&error) {
            return Err(Trouble::Failed(error.to_string()));
        }
        // redb cuts the file back, which returns what was claimed of it.
        transaction.abort()?;
        return Err(Trouble::Full(error.to_string()));
    }
    Ok(transaction.commit()?)
}

type Data<'a> = Table<'a, &'static [u8], &'static [u8]>;

fn mutate(data: &mut Data<'_>, mutation: &Mutation) -> Result<(), Trouble> {
    match mutation {
        Mutation::Set { key, value } => {
            data.insert(key.as_slice(), value.as_slice())?;
        }
        Mutation::Clear { range } if range.is_single() => {
            data.remove(range.begin.as_slice())?;
        }
        Mutation::Clear { range } if range.is_empty() => {}
        Mutation::Clear { range } => {
            data.retain_in(range.begin.as_slice()..range.end.as_slice(), |_, _| false)?;
        }
        Mutation::Atomic { op, key, operand } => {
            let old = match data.get(key.as_slice())? {
                Some(value) => Some(sound_value(value.value())?.to_vec()),
                None => None,
            };
            match op.apply(old.as_deref(), operand) {
                Some(value) => drop(data.insert(key.as_slice(), value.as_slice())?),
                None => drop(data.remove(key.as_slice())?),
            }
        }
        Mutation::StampedKey { .. } | Mutation::StampedValue { .. } => {
            unreachable!("an engine never sees a versionstamp unresolved")
        }
    }
    Ok(())
}
