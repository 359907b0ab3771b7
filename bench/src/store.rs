//! Suite `store`: the chunk store of one shard, and bare files of its runtimes, beside fio on the
//! same device.
//!
//! Owner: the main thread makes the places for data, one kind of device after the other, starts a
//! core per setting (what is measured, on which runtime), pinned to the first CPU, and passes on
//! what it reports. fio runs on the same CPU while the core sleeps.
//!
//! Failure: a device that cannot be had fails its rows with the reason; a row that does not end
//! within its time ends the process. Whatever ends it, the data goes with it (`device`).

use core::time::Duration;
use std::sync::{Arc, mpsc};

pub(crate) mod chunks;
pub(crate) mod device;
pub(crate) mod drive;
pub(crate) mod fill;
pub(crate) mod fio;
mod raw;
pub(crate) mod shape;
pub(crate) mod subject;

use chunks::Fill;
use device::{Kind, Place};
use drive::{Drive, Job};
use shape::{Data, Layer, Setting, Shape};

use crate::cores::{self, join};
use crate::cpu::{KernelThreads, TaskTimes};
use crate::stats::Division;
use crate::suite::{Event, Plan, Row, Shown, Suite};

#[cfg(test)]
mod tests;

/// The entry of this suite.
pub(crate) const SUITE: Suite = Suite {
    name: "store",
    about: "chunks and bare files on a disk and a loop device, by layer and runtime",
    limit: "fio --ioengine=io_uring --direct=1 on the same device",
    shown: Shown { cpu_shares: ["process", "kernel"], device_bytes: true, sized: true },
    rows,
    run,
};

/// Longest slice. fio is a process per slice: shorter ones would be mostly its start.
const SLICE_MAX: Duration = Duration::from_secs(1);
/// Time of a row beyond its slices: a start of fio for each of them, and stalls of the machine.
const ROW_TIME_MARGIN: Duration = Duration::from_secs(120);

/// Room of a store beside its data, at least: metadata, appends, and copies on write.
const STORE_ROOM_MIN: u64 = 1 << 30;

fn rows(_: &Plan) -> Vec<String> {
    let of = |kind| Setting::all_on(kind).into_iter().flat_map(names);
    Kind::ALL.into_iter().flat_map(of).collect()
}

fn names(setting: Setting) -> Vec<String> {
    setting.layer.shapes().into_iter().map(|shape| setting.heading(shape).name).collect()
}

fn run(plan: &Plan, report: &mut dyn FnMut(Event)) {
    let kernel = TaskTimes::of_kernel(&mut KernelThreads::default());
    if kernel.is_ok_and(|kernel| kernel.is_empty()) {
        eprintln!("bench: threads of the kernel cannot be seen here: their CPU time is missing");
    }
    let fio = fio::check();
    for device in Kind::ALL {
        let settings = Setting::all_on(device);
        let wanted = |shape: &Shape, setting: Setting| plan.wants(&setting.heading(*shape).name);
        let chosen = settings.into_iter().map(|setting| {
            let shapes = setting.layer.shapes().into_iter();
            (setting, shapes.filter(|shape| wanted(shape, setting)).collect::<Vec<_>>())
        });
        let chosen: Vec<_> = chosen.filter(|(_, shapes)| !shapes.is_empty()).collect();
        if chosen.is_empty() {
            continue;
        }
        let bytes = plan.storage.bytes;
        let limit = fio.clone().and_then(|()| device.place(&plan.storage, bytes, bytes));
        let mut places = Places { limit, store: None };
        for (setting, shapes) in chosen {
            run_setting(setting, &shapes, plan, &mut places, report);
        }
    }
}

/// Measures the rows of one core; each of them is reported once, whatever happens.
fn run_setting(
    setting: Setting,
    shapes: &[Shape],
    plan: &Plan,
    places: &mut Places,
    report: &mut dyn FnMut(Event),
) {
    let mut left: Vec<String> = shapes.iter().map(|&shape| setting.heading(shape).name).collect();
    let mut pass_on = |event: Event| {
        if let Event::Measured(Row { name, .. }) | Event::Failed { name, .. } = &event {
            left.retain(|other| other != name);
        }
        report(event);
    };
    let measured = measure(setting, shapes, plan, places, &mut pass_on);
    if let Err(reason) = measured {
        for name in left {
            report(Event::Failed { name, reason: reason.clone() });
        }
    }
}

/// Room on one device.
struct Places {
    /// For fio and bare files.
    limit: Result<Arc<Place>, String>,
    /// For a store and its data, which runtimes use one after the other.
    store: Option<(Data, Arc<Place>)>,
}

fn measure(
    setting: Setting,
    shapes: &[Shape],
    plan: &Plan,
    places: &mut Places,
    report: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let limit = places.limit.clone()?;
    let device = setting.device.name();
    if limit.data_bytes() == 0 {
        report(Event::Preparing(format!("{device}: writing {} bytes for fio", limit.bytes)));
        fio::fill(&limit)?;
    }
    let place = match setting.layer {
        Layer::File => None,
        Layer::Store(data) => Some(store(setting, data, plan, places, report)?),
    };
    let (cpu, _) = cores::two_cpus();
    let division = Division::of(plan.seconds, SLICE_MAX);
    let (events, reported) = mpsc::channel();
    let job = Job { setting, shapes: shapes.to_vec(), division, limit, place, cpu };
    let core = cores::spawn("bench-shard", cpu, setting.runtime, Drive { job, events })?;
    cores::pass_on(&reported, plan.seconds + ROW_TIME_MARGIN, report);
    join(core)?
}

/// A place with a store that is full of `data`.
fn store(
    setting: Setting,
    data: Data,
    plan: &Plan,
    places: &mut Places,
    report: &mut dyn FnMut(Event),
) -> Result<Arc<Place>, String> {
    if let Some((found, place)) = &places.store
        && *found == data
    {
        return Ok(place.clone());
    }
    places.store = None; // the room of the one before is needed
    let bytes = plan.storage.bytes;
    let all = bytes + (bytes / 2).max(STORE_ROOM_MIN);
    let place = setting.device.place(&plan.storage, all, all)?;
    let device = setting.device.name();
    report(Event::Preparing(format!("{device}: writing {bytes} bytes of {data:?} chunks")));
    if setting.device == Kind::Loop {
        // All its memory is found before anything is measured.
        fio::fill(&place)?;
        place.set_data_bytes(0);
    }
    let (cpu, _) = cores::two_cpus();
    let fill = Fill { place: place.clone(), data, bytes };
    join(cores::spawn("bench-fill", cpu, setting.runtime, fill)?)??;
    places.store = Some((data, place.clone()));
    Ok(place)
}
