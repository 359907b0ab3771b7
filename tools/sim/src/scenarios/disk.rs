//! One file written, flushed and read back through crashes: what `Env::File` promises.
//!
//! Every sector carries its position and a version under a CRC, so that a reader knows what it
//! found. The workload keeps one write in flight per sector, flushes now and then, and records what
//! it was told. Faults are those which a healthy device may show: power loss, killed processes,
//! errors, slow operations, a full file system, a device that is away for a while.
//!
//! Checks after every start of the process and at the end
//!   T20  a sector holds a version that was written to it, whole, or is torn only where a write was
//!        under way or failed since the last flush
//!   T21  a version whose flush was answered is not undone by a crash (E36)
//!   T22  every operation is answered once the faults have stopped

use core::cell::RefCell;
use core::time::Duration;
use std::path::Path;
use std::rc::Rc;

use engine_runtime::sim::SimEnv;
use engine_runtime::{BUFFER_ALIGN, Env, File, FileError, OpenOptions};
use engine_types::{Rng, crc32c, reached};

use crate::check::{CheckFailure, Verdict, fail};
use crate::fault::{Draw, FaultPlan, Kind};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

#[cfg(test)]
mod tests;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "disk",
    about: "what was flushed survives crashes; what was not is old or new, torn at most",
    play,
};

/// Sectors of the file: few, so that they are written often.
const SECTORS: usize = 12;
/// Time in which faults begin.
const FAULTS_FOR: Duration = Duration::from_millis(400);
/// Time after which a world without faults must have answered everything.
const QUIET_FOR: Duration = Duration::from_millis(300);
const PATH: &str = "data/sectors";

/// What one sector may hold.
#[derive(Clone, Debug, Default)]
struct Sector {
    /// Newest version known to be durable.
    durable: u64,
    /// Newest version whose write has completed.
    written: u64,
    /// Newest version whose write was begun.
    begun: u64,
    /// A write of it is under way.
    busy: bool,
}

/// What the disk owes its user; survives the process.
#[derive(Default)]
struct Ledger {
    sectors: Vec<Sector>,
    operations: u64,
    unanswered: u64,
    broken: Option<CheckFailure>,
}

type Shared = Rc<RefCell<Ledger>>;

fn play(seed: u64) -> Played {
    play_with(seed, &[])
}

/// With faults that no healthy device shows, which the checks must then find.
fn play_with(seed: u64, beyond: &[Kind]) -> Played {
    let mut world = World::new(seed, Topology::of(&[("disk", 1)]));
    let node = world.node(0);
    let nodes = [node];
    let rng = world.sim().random("faults");
    let mut draws = vec![
        Draw::new(Kind::CrashAndReturn, &nodes).count(0..=4).lasts_ms(1..=20),
        Draw::new(Kind::KillAndRestart, &nodes).count(0..=2).lasts_ms(1..=20),
        Draw::new(Kind::DiskErrors, &nodes).count(0..=1).lasts_ms(10..=60),
        Draw::new(Kind::FlushErrors, &nodes).count(0..=1).lasts_ms(10..=60),
        Draw::new(Kind::SlowDisk, &nodes).count(0..=1).lasts_ms(10..=60),
        Draw::new(Kind::DiskFull, &nodes).count(0..=1).lasts_ms(10..=60),
        Draw::new(Kind::DiskGone, &nodes).count(0..=1).lasts_ms(1..=60),
    ];
    draws.extend(beyond.iter().map(|&kind| Draw::new(kind, &nodes).count(2..=4)));
    let plan = FaultPlan::draw(&rng, FAULTS_FOR, &draws);
    world.set_plan(plan.clone());
    let ledger = Shared::default();
    ledger.borrow_mut().sectors = vec![Sector::default(); SECTORS];
    let (shared, stop) = (ledger.clone(), world.sim().now() + FAULTS_FOR);
    world.start_supervised(node, move |env| write_and_check(env, shared.clone(), stop));
    let verdict = run(&mut world, &ledger);
    let operations = ledger.borrow().operations;
    Played { world, plan, operations, verdict }
}

fn run(world: &mut World, ledger: &Shared) -> Verdict {
    world.run(FAULTS_FOR)?;
    world.stop_faults();
    world.run(QUIET_FOR)?;
    // The last start reads everything back once more.
    world.crash_and_return(world.node(0));
    world.run(QUIET_FOR)?;
    let ledger = ledger.borrow();
    match (&ledger.broken, ledger.unanswered) {
        (Some(broken), _) => Err(broken.clone()),
        (None, 0) => Ok(()),
        (None, waiting) => fail("T22 every operation ends", format!("{waiting} still wait")),
    }
}

/// One life of the process: check what the disk holds, then write until `stop`.
async fn write_and_check(env: SimEnv, ledger: Shared, stop: engine_types::Instant) {
    ledger.borrow_mut().unanswered = 0; // those of an earlier life ended with it
    let Ok(file) = open(&env).await else { return };
    if let Err(error) = check_all(&env, &file, &ledger).await {
        // The disk may refuse to read, the supervisor tries again.
        env.note(format!("check gave up: {error}"));
        return;
    }
    let mut rng = Rng::new(env.random());
    while env.world_now() < stop && ledger.borrow().broken.is_none() {
        let index = usize::try_from(rng.below(SECTORS as u64)).expect("below a usize");
        if rng.chance(200) {
            flush(&env, &file, &ledger).await;
        } else {
            write(&env, &file, &ledger, index);
        }
        env.sleep_until(env.now() + Duration::from_micros(rng.range(10..=800))).await;
    }
    flush(&env, &file, &ledger).await;
    // A supervised process stays: its end would be taken for a failure.
    env.sleep_until(engine_types::Instant::NEVER).await;
}

async fn open(env: &SimEnv) -> Result<<SimEnv as Env>::File, FileError> {
    let options = OpenOptions { write: true, create: true, ..OpenOptions::default() };
    let file = env.open(Path::new(PATH), options).await?;
    let bytes = (SECTORS * BUFFER_ALIGN) as u64;
    if file.geometry().size < bytes {
        file.preallocate(0, bytes).await?;
    }
    Ok(file)
}

/// Starts a write unless one is under way in the same sector.
fn write(env: &SimEnv, file: &<SimEnv as Env>::File, ledger: &Shared, index: usize) {
    let version = {
        let mut ledger = ledger.borrow_mut();
        let sector = &mut ledger.sectors[index];
        if sector.busy {
            return;
        }
        sector.busy = true;
        sector.begun += 1;
        let begun = sector.begun;
        ledger.operations += 1;
        ledger.unanswered += 1;
        begun
    };
    let mut buf = env.pool().alloc(BUFFER_ALIGN).expect("far below the limit of the pool");
    buf.extend_from_slice(&encode(index, version));
    let done = file.write((index * BUFFER_ALIGN) as u64, buf.freeze());
    let ledger = ledger.clone();
    drop(env.spawn(async move {
        let result = done.await;
        let mut ledger = ledger.borrow_mut();
        ledger.unanswered -= 1;
        let sector = &mut ledger.sectors[index];
        sector.busy = false;
        if result.is_ok() {
            sector.written = version;
        }
    }));
}

/// What was written before the flush is durable when it is answered (E36).
async fn flush(env: &SimEnv, file: &<SimEnv as Env>::File, ledger: &Shared) {
    let covered: Vec<u64> = {
        let mut ledger = ledger.borrow_mut();
        ledger.operations += 1;
        ledger.unanswered += 1;
        ledger.sectors.iter().map(|sector| sector.written).collect()
    };
    let result = file.flush().await;
    let mut ledger = ledger.borrow_mut();
    ledger.unanswered -= 1;
    match result {
        Ok(()) => {
            for (sector, covered) in ledger.sectors.iter_mut().zip(covered) {
                sector.durable = sector.durable.max(covered);
            }
        }
        Err(error) => env.note(format!("flush: {error}")),
    }
}

async fn check_all(
    env: &SimEnv,
    file: &<SimEnv as Env>::File,
    ledger: &Shared,
) -> Result<(), FileError> {
    for index in 0..SECTORS {
        let bytes = file.read((index * BUFFER_ALIGN) as u64, BUFFER_ALIGN).await?;
        let mut ledger = ledger.borrow_mut();
        let sector = ledger.sectors[index].clone();
        match judge(index, &bytes, &sector) {
            Ok(found) => ledger.sectors[index] = found,
            Err(broken) => ledger.broken = Some(broken),
        }
    }
    // Found after a kill it may still be in the cache of the device: a flush makes it durable.
    flush(env, file, ledger).await;
    Ok(())
}

/// What the sector holds now, as far as its user may know.
fn judge(index: usize, bytes: &[u8], sector: &Sector) -> Result<Sector, CheckFailure> {
    let broken = |check, what: String| Err(CheckFailure { check, what });
    // Everything begun after the last durable version may be there, in part.
    let settled = sector.begun == sector.durable;
    match decode(index, bytes) {
        Some(version) if version < sector.durable => {
            let what = format!("sector {index}: version {version}, durable {}", sector.durable);
            broken("T21 a flush is not undone", what)
        }
        Some(version) if sector.begun < version => {
            broken("T20 written or torn", format!("sector {index}: version {version} never was"))
        }
        None if settled => {
            let what = format!("sector {index} is torn, durable {}", sector.durable);
            broken("T20 written or torn", what)
        }
        found => {
            if found.is_none() {
                reached!("T20: a torn sector was found after a crash");
            }
            let written = found.unwrap_or(sector.durable);
            Ok(Sector { written, busy: false, ..sector.clone() })
        }
    }
}

/// Version, position and CRC in the first bytes, a pattern of both in all others.
fn encode(index: usize, version: u64) -> Vec<u8> {
    let mut bytes = vec![0; BUFFER_ALIGN];
    Rng::new(version << 16 | index as u64).fill_bytes(&mut bytes[16..]);
    bytes[..8].copy_from_slice(&version.to_le_bytes());
    bytes[8..12].copy_from_slice(&u32::try_from(index).expect("few sectors").to_le_bytes());
    let crc = crc32c(&bytes).get();
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version, 0 for a sector never written, nothing for a torn one.
fn decode(index: usize, bytes: &[u8]) -> Option<u64> {
    if bytes.iter().all(|&byte| byte == 0) {
        return Some(0);
    }
    let version = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes == encode(index, version)).then_some(version)
}
