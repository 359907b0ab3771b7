//! The chunk store through crashes: power loss, killed processes, failing and full devices.
//!
//! One node runs a store on a simulated file or device. A workload asks for updates of all kinds,
//! eight at a time, and compares every answer with a reference ([`model`]). Then the node crashes
//! in the middle of it, comes back, and everything that was acknowledged is looked for. One opening
//! in four crashes again before it has ended.
//!
//! Checks: T40 to T42 in [`perform`], T43 to T46 in [`recovered`], and
//!   T47  a store opens, and leaves service only when the device fails; then it opens again
//!   T48  every request is answered, every opening and closing ends
//!   T49  a store that found its host full stores again once there is space
//!   T57  after one bad bit in one superblock, what was acknowledged is there, or the store says
//!        that it is damaged, or refuses to open: it never opens as if nothing had been there
//!   T58  bits that flip on the way from the device while a store opens change nothing

use core::time::Duration;
use std::rc::Rc;

use engine_runtime::sim::{Count, DiskFaults, Sim};
use engine_runtime::{FileLog, Traced};
use engine_store::format::limits::SUPERBLOCK_OFFSETS;
use engine_store::format::superblock::SUPERBLOCK_BYTES;
use engine_types::{NodeId, Rng, reached};

use crate::check::{Verdict, fail};
use crate::fault::{Fault, FaultEvent, FaultPlan};
use crate::scenario::{Played, Scenario};
use crate::topology::Topology;
use crate::world::World;

pub mod body;
pub mod damage;
pub mod doubt;
pub mod ledger;
pub mod life;
pub mod limits;
pub mod model;
pub mod perform;
pub mod recovered;
pub mod request;
pub mod ring;
pub mod setting;
pub mod steps;

use ledger::{Ledger, Phase, Shared, Tolerance, Wish};
use life::Setting;
use setting::{Flavour, Medium};

#[cfg(test)]
mod tests;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "store",
    about: "a chunk store keeps what it acknowledged, whole, through crashes and failing devices",
    play,
};

/// How much happens in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Lives that end badly; one more ends well.
    pub cycles: u32,
    /// Requests of each life at least, when nothing fails before.
    pub requests: u64,
    /// Whether devices fail, are slow, or full; otherwise crashes are all that happens.
    pub troubles: bool,
    /// Whether lives end badly at all.
    pub crashes: bool,
    /// What the world is rich in, when it is not for the seed to say.
    pub flavour: Option<Flavour>,
}

impl Shape {
    /// A world of the scenario.
    pub const USUAL: Self =
        Self { cycles: 5, requests: 30, troubles: true, crashes: true, flavour: None };
    /// One long life that nothing disturbs.
    pub const CALM: Self =
        Self { cycles: 1, requests: 2_000, troubles: false, crashes: false, flavour: None };
}

/// Time in which anything that a healthy device lets happen has happened.
const LIMIT: Duration = Duration::from_secs(60);
/// Time after which a full host is asked again, and more.
const CLAIMS_AGAIN: Duration = Duration::from_secs(6);
/// Several groups are written meanwhile.
const SLOW_READ: Duration = Duration::from_millis(6);
/// Openings in a thousand with bits that flip on the way.
const FLIPS: u32 = 80;
/// Lives in a thousand behind which a bit of a superblock rots.
const ROTS: u32 = 80;
/// Openings in a thousand that crash before they have ended.
const CRASHES_AGAIN: u32 = 250;

fn play(seed: u64) -> Played {
    play_shape(seed, &Shape::USUAL)
}

/// One world of a shape.
pub fn play_shape(seed: u64, shape: &Shape) -> Played {
    play_with(seed, shape, DiskFaults::default())
}

/// With a disk that a healthy device is not: the checks must then find it.
pub fn play_with(seed: u64, shape: &Shape, disk: DiskFaults) -> Played {
    Play::world(seed, shape, disk, |play| play.run())
}

/// What makes the life of a store hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Slow,
    SlowReads,
    ReadErrors,
    WriteErrors,
    FlushErrors,
    Full,
}

struct Play<'a> {
    world: &'a mut World,
    node: NodeId,
    shared: Shared,
    setting: Rc<Setting>,
    medium: Medium,
    rng: Rng,
    shape: Shape,
    /// The disk at rest.
    disk: DiskFaults,
    /// Decides about rot, so that worlds without it stay as they are.
    rot: Rng,
    /// The store said what rot did to it: nothing more is expected of this world.
    over: bool,
    /// What went wrong so far.
    events: Vec<FaultEvent>,
}

/// Operations that the device has ended.
fn device_operations(sim: &Sim) -> u64 {
    let report = sim.report();
    [Count::Read, Count::Write, Count::Flush].map(|count| report.count(count)).iter().sum()
}

impl Play<'_> {
    /// A world in which `run` is what happens.
    fn world(
        seed: u64,
        shape: &Shape,
        disk: DiskFaults,
        run: impl FnOnce(&mut Play<'_>) -> Verdict,
    ) -> Played {
        let mut world = World::new(seed, Topology::of(&[("store", 1)]));
        let node = world.node(0);
        let mut rng = world.sim().random("store");
        let rot = world.sim().random("superblock");
        let drawn = setting::draw(&mut rng, shape);
        drawn.medium.add(&world, node, &drawn.setting);
        world.sim().set_disk(node, disk);
        let ledger = Ledger { room: drawn.room, ..Ledger::new(drawn.chunks) };
        let shared: Shared = Rc::new(ledger.into());
        let mut play = Play {
            world: &mut world,
            node,
            shared: shared.clone(),
            setting: Rc::new(drawn.setting),
            medium: drawn.medium,
            rng,
            shape: *shape,
            disk,
            rot,
            over: false,
            events: Vec::new(),
        };
        let verdict = run(&mut play);
        let events = core::mem::take(&mut play.events);
        let operations = shared.borrow().operations;
        Played { world, plan: FaultPlan { events }, operations, verdict }
    }

    fn run(&mut self) -> Verdict {
        for _ in 0..self.shape.cycles {
            self.cycle()?;
            if self.over {
                return Ok(());
            }
            self.rot();
        }
        self.last()
    }

    /// One bit of one superblock is bad, now and then.
    fn rot(&mut self) {
        if !self.shape.troubles || !self.rot.chance(ROTS) {
            return;
        }
        let copy = usize::from(self.rot.chance(500));
        let position = SUPERBLOCK_OFFSETS[copy] + self.rot.below(SUPERBLOCK_BYTES as u64);
        self.world.sim().flip_bit(self.node, self.setting.path, position, 0);
        self.world.sim().note(format!("rot: byte {position} of superblock {copy}"));
        self.shared.borrow_mut().rotten = true;
    }

    /// One life that ends badly.
    fn cycle(&mut self) -> Verdict {
        self.open()?;
        if self.over {
            return Ok(());
        }
        let trouble = self.trouble();
        self.make(trouble);
        let requests = self.shape.requests + self.rng.below(self.shape.requests.div_ceil(2));
        self.wait("requests are made", |_, ledger| {
            requests <= ledger.begun || ledger.phase == Phase::Failed
        })?;
        if trouble == Trouble::Full {
            self.space_again()?;
        }
        self.end()?;
        reached!("T43: a life of a store ended");
        self.mend();
        Ok(())
    }

    /// A life that ends well, and one that only looks.
    fn last(&mut self) -> Verdict {
        self.open()?;
        if self.over {
            return Ok(());
        }
        self.wish(Wish::Rest);
        self.reach(Phase::Resting)?;
        self.wish(Wish::Close);
        self.reach(Phase::Ended)?;
        self.gone()?;
        self.open()?;
        self.wish(Wish::Rest);
        self.reach(Phase::Resting)
    }

    // --- beginning -----------------------------------------------------------------------------

    /// Starts the process until it works, through crashes and errors on the way.
    fn open(&mut self) -> Verdict {
        self.wish(Wish::Work);
        for _ in 0..3 {
            if !self.crashes_now() {
                break;
            }
            self.start();
            let after = device_operations(self.world.sim()) + self.rng.range(1..=30);
            self.wait("a crash during recovery", |sim, ledger| {
                after <= device_operations(sim) || Phase::Checking <= ledger.phase
            })?;
            let opening = self.shared.borrow().phase == Phase::Opening;
            if opening && self.shared.borrow().formatted {
                reached!("T43: a crash during recovery");
            }
            self.crash();
        }
        if self.shape.troubles && self.rng.chance(60) {
            self.open_with_errors()?;
        } else if self.shape.troubles && self.rot.chance(FLIPS) {
            self.open_with_flips()?;
        } else {
            self.start();
        }
        self.wait("the store opens", |_, ledger| Phase::Working <= ledger.phase)?;
        let ledger = &mut *self.shared.borrow_mut();
        if core::mem::take(&mut ledger.rotten) {
            match ledger.phase {
                Phase::Failed => reached!("T57: a store said what the loss of a superblock did"),
                _ => reached!("T57: the loss of a superblock did nothing"),
            }
            self.over = ledger.phase == Phase::Failed;
            return Ok(());
        }
        match (&ledger.failure, ledger.phase) {
            (Some(why), Phase::Failed) => fail("T47 opens", why.clone()),
            _ => Ok(()),
        }
    }

    fn crashes_now(&mut self) -> bool {
        self.shape.crashes && self.rng.chance(CRASHES_AGAIN)
    }

    /// An opening on a device that fails; after it the device is healthy, and a store that could
    /// not be opened opens.
    fn open_with_errors(&mut self) -> Verdict {
        let trouble = match self.rng.below(3) {
            0 => Trouble::WriteErrors,
            1 => Trouble::FlushErrors,
            _ => Trouble::ReadErrors,
        };
        self.make(trouble);
        self.start();
        self.wait("an opening with errors ends", |_, ledger| Phase::Working <= ledger.phase)?;
        if self.shared.borrow().phase == Phase::Failed {
            reached!("T47: a store could not be opened because of the device");
            self.gone()?;
            self.mend();
            self.start();
        } else {
            // It has opened; what fails from now on is another matter.
            self.mend_device();
        }
        Ok(())
    }

    /// An opening on a device whose reads are wrong at times, which nobody notices (T58). Three
    /// wrong readings of the same thing, which are one too many, do not happen at this rate.
    fn open_with_flips(&mut self) -> Verdict {
        let permille = u32::try_from(self.rot.range(2..=10)).expect("small");
        let disk = DiskFaults { read_flip_permille: permille, ..self.disk };
        self.world.sim().set_disk(self.node, disk);
        self.event(Fault::Disk(self.node, disk));
        self.start();
        self.wait("an opening with flips ends", |_, ledger| Phase::Checking <= ledger.phase)?;
        self.mend_device();
        Ok(())
    }

    fn start(&mut self) {
        self.start_seen(None);
    }

    /// Starts the process; what becomes of its file operations is written down.
    fn start_seen(&mut self, log: Option<FileLog>) {
        {
            let ledger = &mut *self.shared.borrow_mut();
            (ledger.begun, ledger.in_flight) = (0, 0);
            (ledger.phase, ledger.failure) = (Phase::Off, None);
        }
        if self.medium == Medium::WriteThrough {
            // Such a device has nowhere to keep what has landed but the medium.
            self.world.sim().set_volatile_cache(self.node, self.setting.path, false);
        }
        let (shared, setting) = (self.shared.clone(), self.setting.clone());
        self.world.start(self.node, move |env| {
            let notes = env.clone();
            let note = move |text: String| notes.note(text);
            let (shared, setting, log) = (shared.clone(), setting.clone(), log.clone());
            async move {
                match log {
                    None => life::live(env, shared, setting, note).await,
                    Some(log) => life::live(Traced::new(env, log), shared, setting, note).await,
                }
            }
        });
    }

    // --- trouble -------------------------------------------------------------------------------

    fn trouble(&mut self) -> Trouble {
        if !self.shape.troubles {
            return Trouble::None;
        }
        match self.rng.below(20) {
            0 => Trouble::Slow,
            1..=2 => Trouble::SlowReads,
            3 => Trouble::ReadErrors,
            4 => Trouble::WriteErrors,
            5 => Trouble::FlushErrors,
            6..=7 if self.medium == Medium::File => Trouble::Full,
            _ => Trouble::None,
        }
    }

    fn make(&mut self, trouble: Trouble) {
        let permille = |rng: &mut Rng, most| u32::try_from(rng.range(3..=most)).expect("small");
        let mut disk = self.disk;
        let mut tolerance = Tolerance::default();
        match trouble {
            Trouble::None => return,
            Trouble::Slow => {
                disk.slow_factor = u32::try_from(self.rng.range(2..=30)).expect("small");
                disk.tail_permille = 50;
            }
            // Reads outlive what they were planned with (S4).
            Trouble::SlowReads => disk.read = (Duration::from_micros(50), SLOW_READ),
            Trouble::ReadErrors => {
                disk.read_error_permille = permille(&mut self.rng, 200);
                tolerance.read_errors = true;
            }
            Trouble::WriteErrors => {
                disk.write_error_permille = permille(&mut self.rng, 60);
                tolerance.write_errors = true;
            }
            Trouble::FlushErrors => {
                disk.flush_error_permille = permille(&mut self.rng, 100);
                tolerance.write_errors = true;
            }
            Trouble::Full => {
                self.world.sim().set_space(self.node, Some(0));
                tolerance.no_space = true;
                self.event(Fault::Space(self.node, 0));
            }
        }
        if disk != self.disk {
            self.world.sim().set_disk(self.node, disk);
            self.event(Fault::Disk(self.node, disk));
        }
        self.shared.borrow_mut().tolerance = tolerance;
    }

    /// The host has space again: after a while every update is stored again.
    fn space_again(&mut self) -> Verdict {
        if self.rng.chance(500) {
            return Ok(());
        }
        self.world.sim().set_space(self.node, None);
        self.wish(Wish::Rest);
        self.reach(Phase::Resting)?;
        self.world.run(CLAIMS_AGAIN)?;
        reached!("T49: the host had space again");
        self.shared.borrow_mut().tolerance = Tolerance::default();
        let more = self.shared.borrow().begun + 20;
        self.wish(Wish::Work);
        self.wait("requests are made again", |_, ledger| more <= ledger.begun)
    }

    fn mend_device(&mut self) {
        self.world.sim().set_disk(self.node, self.disk);
        self.world.sim().set_space(self.node, None);
    }

    fn mend(&mut self) {
        self.mend_device();
        self.shared.borrow_mut().tolerance = Tolerance::default();
    }

    // --- end -----------------------------------------------------------------------------------

    fn end(&mut self) -> Verdict {
        if self.shared.borrow().phase == Phase::Failed {
            // Out of service: a supervisor starts it again, or the power goes.
            self.gone()?;
            if self.rng.chance(500) {
                self.crash();
            }
            return Ok(());
        }
        let kind = if self.shape.crashes { self.rng.below(20) } else { 18 };
        match kind {
            // In the middle of everything, after any operation of the device.
            0..=13 => {
                let more = self.rng.below(40);
                let after = device_operations(self.world.sim()) + more;
                self.wait("the moment of the crash", |sim, ledger| {
                    after <= device_operations(sim) || Phase::Resting <= ledger.phase
                })?;
                self.crash();
            }
            // While the store is left to itself: commits, applies, checkpoints.
            14..=16 => {
                self.wish(Wish::Rest);
                self.rested()?;
                let pause = self.rng.range(0..=250);
                self.world.run(Duration::from_millis(pause))?;
                self.crash();
            }
            // While it is closed.
            17 => {
                self.wish(Wish::Close);
                let after = device_operations(self.world.sim()) + self.rng.below(20);
                self.wait("the crash while closing", |sim, ledger| {
                    after <= device_operations(sim) || Phase::Failed <= ledger.phase
                })?;
                self.crash();
            }
            18 => {
                self.wish(Wish::Close);
                self.wait("the store closes", |_, ledger| Phase::Failed <= ledger.phase)?;
                self.gone()?;
            }
            // As if somebody had stopped it without asking it to close.
            _ => {
                self.wish(Wish::Leave);
                self.wait("the process ends", |_, ledger| Phase::Failed <= ledger.phase)?;
                self.gone()?;
            }
        }
        Ok(())
    }

    /// Power loss as a rule, a killed process at times.
    fn crash(&mut self) {
        let node = self.node;
        if self.rng.chance(200) {
            self.world.sim().kill(node);
            self.event(Fault::Kill(node));
        } else {
            self.world.sim().crash(node);
            self.event(Fault::Crash(node));
        }
    }

    // --- waiting -------------------------------------------------------------------------------

    fn wish(&mut self, wish: Wish) {
        let mut ledger = self.shared.borrow_mut();
        ledger.wish = wish;
        ledger.changed.notify();
    }

    fn reach(&mut self, phase: Phase) -> Verdict {
        self.wait("the process goes on", |_, ledger| phase <= ledger.phase)?;
        let ledger = self.shared.borrow();
        match (&ledger.failure, ledger.phase == phase) {
            (_, true) => Ok(()),
            (Some(why), false) => fail("T47 opens", why.clone()),
            (None, false) => fail("T47 opens", format!("{:?}", ledger.phase)),
        }
    }

    fn rested(&mut self) -> Verdict {
        self.wait("every request ends", |_, ledger| Phase::Resting <= ledger.phase)
    }

    /// Waits until the process has ended by itself.
    fn gone(&mut self) -> Verdict {
        let node = self.node;
        self.wait("the process ends", move |sim, _| !sim.is_running(node))
    }

    /// Runs until `until` holds or a check has failed.
    fn wait(&mut self, what: &str, mut until: impl FnMut(&Sim, &Ledger) -> bool) -> Verdict {
        let shared = self.shared.clone();
        let ended = self.world.run_while(LIMIT, |sim| {
            let ledger = shared.borrow();
            ledger.broken.is_none() && !until(sim, &ledger)
        })?;
        let ledger = self.shared.borrow();
        match &ledger.broken {
            Some(broken) => Err(broken.clone()),
            None if ended => Ok(()),
            None => {
                let Ledger { phase, in_flight, begun, .. } = &*ledger;
                let what = format!("{what}: {phase:?}, {in_flight} of {begun} requests wait");
                fail("T48 every request ends", what)
            }
        }
    }

    fn event(&mut self, fault: Fault) {
        let at = Duration::from_nanos(self.world.sim().now().nanos());
        self.world.sim().note(format!("fault: {fault}"));
        self.events.push(FaultEvent { at, lasts: Duration::ZERO, fault });
    }
}
