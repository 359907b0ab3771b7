//! The runtime's files alone, on the very file or device that fio uses: what a runtime costs, and
//! what everything above it can reach at best.
//!
//! Appends go round through the file. Durable writes wait for a flush that starts after their end,
//! one flush at a time for all that wait, as a journal does it.

use core::cell::Cell;
use std::rc::Rc;

use engine_runtime::{Bytes, Env, File, Notify};
use engine_types::Rng;

use super::device::Place;
use super::fill;
use super::shape::{LARGE_BYTES, SMALL_BYTES, Work};
use super::subject::{Counters, Subject};

#[cfg(test)]
mod tests;

/// Different payloads that writes take turns with, so that no device can profit from equal ones.
const PAYLOADS: u64 = 4;

/// An open file or device.
pub(super) struct RawFile<E: Env> {
    file: E::File,
    bytes: u64,
    append_at: Cell<u64>,
    small: Vec<Bytes<E::Memory>>,
    large: Vec<Bytes<E::Memory>>,
    flushes: Flushes,
    counters: Cell<Counters>,
}

/// One flush at a time, shared by those that wait.
#[derive(Default)]
struct Flushes {
    started: Cell<u64>,
    ended: Cell<u64>,
    running: Cell<bool>,
    changed: Notify,
}

impl<E: Env> Subject<E> for RawFile<E> {
    async fn open(env: &E, place: &Place) -> Result<Rc<Self>, String> {
        let file = fill::open(env, place).await?;
        let mut random = Rng::new(env.random());
        let mut payloads = |len| -> Result<Vec<_>, String> {
            (0..PAYLOADS).map(|_| fill::random_bytes(env, &mut random, len)).collect()
        };
        Ok(Rc::new(Self {
            file,
            bytes: place.bytes,
            append_at: Cell::new(0),
            small: payloads(SMALL_BYTES)?,
            large: payloads(LARGE_BYTES)?,
            flushes: Flushes::default(),
            counters: Cell::default(),
        }))
    }

    async fn operate(&self, work: Work, random: &mut Rng) -> Result<(), String> {
        match work {
            Work::Read { len, .. } => self.read(self.anywhere(random, len), len).await,
            Work::Append { .. } => {
                let position = self.append_at.get();
                self.append_at.set((position + u64::from(LARGE_BYTES)) % self.bytes);
                self.write(position, one_of(&self.large, random)).await
            }
            Work::Overwrite => {
                let position = self.anywhere(random, SMALL_BYTES);
                self.write(position, one_of(&self.small, random)).await
            }
        }
    }

    fn ops_put_off(&self, _work: Work) -> u64 {
        0
    }

    async fn tidy(&self) -> Result<(), String> {
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.counters.get()
    }

    async fn close(&self) -> Result<(), String> {
        Ok(())
    }
}

fn one_of<T: Clone>(payloads: &[T], random: &mut Rng) -> T {
    let index = usize::try_from(random.below(payloads.len() as u64)).expect("an index");
    payloads[index].clone()
}

impl<E: Env> RawFile<E> {
    fn anywhere(&self, random: &mut Rng, len: u32) -> u64 {
        let len = u64::from(len);
        random.below(self.bytes / len) * len
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    async fn read(&self, position: u64, len: u32) -> Result<(), String> {
        let expected = usize::try_from(len).expect("32 bits fit");
        let bytes = self.file.read(position, expected).await.map_err(|error| error.to_string())?;
        if bytes.len() != expected {
            return Err(format!("{} bytes read at {position} of {len}", bytes.len()));
        }
        self.count(|counters| {
            counters.user_bytes += u64::from(len);
            counters.read_bytes += u64::from(len);
        });
        Ok(())
    }

    async fn write(&self, position: u64, data: Bytes<E::Memory>) -> Result<(), String> {
        let len = data.len() as u64;
        self.file.write(position, data).await.map_err(|error| error.to_string())?;
        self.flush().await?;
        self.count(|counters| {
            counters.user_bytes += len;
            counters.writes += 1;
            counters.written_bytes += len;
        });
        Ok(())
    }

    /// Returns when a flush has ended that started after this call (E36).
    async fn flush(&self) -> Result<(), String> {
        let flushes = &self.flushes;
        let needed = flushes.started.get() + 1;
        while flushes.ended.get() < needed {
            if flushes.running.get() {
                flushes.changed.until(|| !flushes.running.get()).await;
                continue;
            }
            flushes.running.set(true);
            let number = flushes.started.get() + 1;
            flushes.started.set(number);
            let flushed = self.file.flush().await;
            flushes.running.set(false);
            flushes.changed.notify();
            flushed.map_err(|error| error.to_string())?;
            flushes.ended.set(number);
            self.count(|counters| counters.flushes += 1);
        }
        Ok(())
    }
}
