//! The limit: fio with io_uring and direct I/O, one process per slice.
//!
//! Owner: the measuring core, which sleeps meanwhile. fio runs as one process with one thread for
//! its I/O, on the CPU of the subject. What it does before and after its I/O (a quarter of a
//! second) is not measured: its own clock gives the rate, and its CPU time is read from outside in
//! the middle of the slice, as a rate too.
//!
//! Failure: a fio that is missing, refuses or reports an error is a reason for the row. A process
//! that dies leaves at most a fio that ends with its slice.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use engine_runtime::Env;
use hdrhistogram::Histogram;
use serde::Deserialize;

use super::device::Place;
use super::shape::{Shape, Work};
use crate::cpu::{CpuUsed, KernelThreads, TaskTimes};
use crate::stats::{Division, Slice, latency_histogram};

#[cfg(test)]
mod tests;

/// What to tell whoever has no fio.
const MISSING: &str = "fio is not installed; the Debian package is `fio`";
/// A fio that does no I/O for this long will not: it prepares for a quarter of a second.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// How often its first I/O is looked for: far below the time that is not measured.
const START_POLL: Duration = Duration::from_millis(2);

/// A slice of fio.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// A file or device that was written completely.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// What is done to it.
    pub(crate) shape: Shape,
    /// Writes per fdatasync.
    pub(crate) writes_per_flush: u32,
    /// CPU for its I/O.
    pub(crate) cpu: Option<usize>,
    /// Length of the slice.
    pub(crate) division: Division,
}

/// What fio did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) slice: Slice,
    /// From submission to completion; a write is not durable by then.
    pub(crate) latency: Histogram<u64>,
}

/// Whether there is a fio.
///
/// # Errors
/// Says which package has it.
pub(crate) fn check() -> Result<(), String> {
    match Command::new("fio").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(reason(&output)),
        Err(error) => Err(not_started(&error)),
    }
}

/// Runs fio for one slice.
///
/// # Errors
/// Why there is no figure: fio's own words where it has some.
pub(crate) async fn run<E: Env>(env: &E, request: &Request) -> Result<Outcome, String> {
    let arguments = arguments(request);
    let started = env.blocking(|| start(arguments)).await;
    let mut fio = started.map_err(|error| not_started(&error))?;
    // fio says nothing before its end, so that nobody need read while it runs.
    let rates = Rates::measure(env, &mut fio, &request.division).await;
    let output = env.blocking(|| fio.wait_with_output()).await;
    let output = output.map_err(|error| format!("fio: {error}"))?;
    if !output.status.success() {
        return Err(reason(&output));
    }
    outcome(&String::from_utf8_lossy(&output.stdout), request.shape, &rates?)
}

/// Fills `place` with random data, by fio: a core that did it would measure with used memory.
///
/// # Errors
/// fio's own words.
pub(crate) fn fill(place: &Place) -> Result<(), String> {
    let arguments = [
        "--name=fill",
        "--ioengine=io_uring",
        "--direct=1",
        "--rw=write",
        "--bs=1M",
        "--iodepth=16",
        "--refill_buffers",
        "--end_fsync=1",
        "--allow_file_create=0",
        "--eta=never",
        "--output-format=terse",
    ];
    let started = Command::new("fio")
        .args(arguments)
        .arg(format!("--filename={}", place.path.display()))
        .arg(format!("--size={}", place.bytes))
        .output();
    let output = started.map_err(|error| not_started(&error))?;
    if !output.status.success() {
        return Err(reason(&output));
    }
    place.set_data_bytes(place.bytes);
    Ok(())
}

fn start(arguments: Vec<String>) -> io::Result<Child> {
    Command::new("fio")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn not_started(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => MISSING.to_owned(),
        _ => format!("fio cannot start: {error}"),
    }
}

fn reason(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout[..]].map(String::from_utf8_lossy);
    let said = text.iter().flat_map(|text| text.lines()).find(|line| !line.trim().is_empty());
    format!("fio ended with {}: {}", output.status, said.unwrap_or("without a word"))
}

fn arguments(request: &Request) -> Vec<String> {
    let Request { path, bytes, shape, writes_per_flush, cpu, division } = request;
    let pattern = match shape.work {
        Work::Read { .. } => "randread",
        Work::Append { .. } => "write",
        Work::Overwrite => "randwrite",
    };
    let mut arguments: Vec<String> = [
        "--name=limit",
        "--ioengine=io_uring",
        "--direct=1",
        "--thread",
        "--time_based",
        // No map of what was touched already: random places, as the subject takes them.
        "--norandommap",
        "--randrepeat=0",
        "--allow_file_create=0",
        "--lat_percentiles=1",
        "--clat_percentiles=0",
        "--disk_util=0",
        "--eta=never",
        "--output-format=json+",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--filename={}", path.display()));
    arguments.push(format!("--size={bytes}"));
    arguments.push(format!("--rw={pattern}"));
    arguments.push(format!("--bs={}", shape.work.bytes()));
    arguments.push(format!("--iodepth={}", shape.depth));
    arguments.push(format!("--ramp_time={}ms", division.settle.as_millis().max(1)));
    arguments.push(format!("--runtime={}ms", division.measured.as_millis().max(1)));
    if shape.work.is_write() {
        arguments.push(format!("--fdatasync={writes_per_flush}"));
    }
    if let Some(cpu) = cpu {
        arguments.push(format!("--cpus_allowed={cpu}"));
    }
    arguments
}

/// CPUs that were kept busy in the middle of a slice.
struct Rates {
    /// By fio, all its threads.
    process: f64,
    /// By threads of the kernel.
    kernel: f64,
}

impl Rates {
    /// Waits for the first I/O of `fio` and reads clocks twice while it goes on.
    async fn measure<E: Env>(
        env: &E,
        child: &mut Child,
        division: &Division,
    ) -> Result<Self, String> {
        let fio = child.id();
        let threads = KernelThreads::default();
        let failed = |error| format!("CPU time of fio cannot be read: {error}");
        // The first reading finds out which threads there are.
        let (threads, _) = env.blocking(move || read_both(threads, fio)).await.map_err(failed)?;
        wait_for_io(env, child).await?;
        env.sleep_until(env.now() + division.settle + division.measured / 8).await;
        let read = env.blocking(move || read_both(threads, fio)).await;
        let (threads, first) = read.map_err(failed)?;
        env.sleep_until(env.now() + division.measured / 2).await;
        let read = env.blocking(move || read_both(threads, fio)).await;
        let (_, second) = read.map_err(failed)?;
        let [process, kernel] = [0, 1].map(|which| second[which].rate_since(&first[which]));
        Ok(Self { process, kernel })
    }

    fn over(&self, nanos: u64) -> CpuUsed {
        #[expect(clippy::cast_possible_truncation, reason = "a slice has seconds, not centuries")]
        let used = |rate: f64| (rate * nanos as f64) as u64;
        CpuUsed { client_nanos: used(self.process), server_nanos: used(self.kernel) }
    }
}

/// Times of fio and of the kernel's threads.
fn read_both(mut threads: KernelThreads, fio: u32) -> io::Result<(KernelThreads, [TaskTimes; 2])> {
    let times = [TaskTimes::of_process(fio)?, TaskTimes::of_kernel(&mut threads)?];
    Ok((threads, times))
}

async fn wait_for_io<E: Env>(env: &E, fio: &mut Child) -> Result<(), String> {
    let path = format!("/proc/{}/io", fio.id());
    let give_up_at = env.now() + START_TIME_MAX;
    loop {
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        if 0 < device_bytes(&text) {
            return Ok(());
        }
        if let Ok(Some(status)) = fio.try_wait() {
            return Err(format!("fio ended with {status} before its first I/O"));
        }
        if give_up_at <= env.now() {
            return Err(format!("fio did nothing for {} s", START_TIME_MAX.as_secs()));
        }
        env.sleep_until(env.now() + START_POLL).await;
    }
}

/// Bytes that a process has moved to and from devices.
fn device_bytes(io: &str) -> u64 {
    let of = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    of("read_bytes:").unwrap_or(0) + of("write_bytes:").unwrap_or(0)
}

/// The part of fio's report that is used.
#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i32,
    read: Direction,
    write: Direction,
}

#[derive(Deserialize)]
struct Direction {
    total_ios: u64,
    /// Milliseconds.
    runtime: u64,
    lat_ns: Latencies,
}

#[derive(Deserialize)]
struct Latencies {
    /// How many took that many nanoseconds.
    #[serde(default)]
    bins: BTreeMap<String, u64>,
}

fn outcome(printed: &str, shape: Shape, rates: &Rates) -> Result<Outcome, String> {
    // Notes of fio come before its report.
    let start = printed.find("{\n").ok_or("fio printed no report")?;
    let report: Report = serde_json::from_str(&printed[start..])
        .map_err(|error| format!("fio's report is not understood: {error}"))?;
    let job = report.jobs.into_iter().next().ok_or("fio's report has no job")?;
    if job.error != 0 {
        return Err(format!("fio reports error {}", job.error));
    }
    let direction = if shape.work.is_write() { job.write } else { job.read };
    if direction.total_ios == 0 || direction.runtime == 0 {
        return Err("fio completed nothing in its slice".to_owned());
    }
    let mut latency = latency_histogram();
    for (nanos, count) in &direction.lat_ns.bins {
        let nanos: u64 = nanos.parse().map_err(|_| format!("fio's bin {nanos:?} is no number"))?;
        latency.saturating_record_n(nanos, *count);
    }
    let nanos = direction.runtime * 1_000_000;
    let slice = Slice { ops: direction.total_ios, nanos, cpu: rates.over(nanos) };
    Ok(Outcome { slice, latency })
}
