//! Cases on real kernels: each in an executor of its own, under a watchdog, with a directory that
//! is removed however the case ends.

use core::net::{Ipv4Addr, SocketAddr};
use core::pin::Pin;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::{fs, process, thread};

use engine_runtime::RunError;
#[cfg(feature = "glommio")]
use engine_runtime::glommio::GlommioEnv;
#[cfg(feature = "monoio")]
use engine_runtime::monoio::{Driver, MonoioEnv, run_on};

use crate::ground::{Ground, spec};

/// Cases take milliseconds, a few take seconds on a busy machine: what takes this long hangs.
const HANG: Duration = Duration::from_secs(60);

/// A case for one kind of `Env`, boxed so that each executor is compiled once and not per case.
type Main<E> = Box<dyn FnOnce(E) -> Pin<Box<dyn Future<Output = ()>>>>;

fn boxed<E, F, C>(case: C, ground: Ground) -> Main<E>
where
    F: Future<Output = ()> + 'static,
    C: FnOnce(E, Ground) -> F + 'static,
{
    Box::new(move |env| Box::pin(case(env, ground)))
}

#[cfg(feature = "glommio")]
pub(crate) fn on_glommio<F, C>(name: &'static str, case: C)
where
    F: Future<Output = ()> + 'static,
    C: FnOnce(GlommioEnv, Ground) -> F + 'static,
{
    fn start(main: Main<GlommioEnv>) -> Result<(), RunError> {
        engine_runtime::glommio::run(spec("case"), main)
    }
    let scene = Scene::new(name);
    start(boxed(case, scene.ground())).unwrap();
}

#[cfg(feature = "monoio")]
pub(crate) fn on_monoio_uring<F, C>(name: &'static str, case: C)
where
    F: Future<Output = ()> + 'static,
    C: FnOnce(MonoioEnv, Ground) -> F + 'static,
{
    let scene = Scene::new(name);
    start_monoio(Driver::Uring, boxed(case, scene.ground())).unwrap();
}

#[cfg(feature = "monoio")]
pub(crate) fn on_monoio_legacy<F, C>(name: &'static str, case: C)
where
    F: Future<Output = ()> + 'static,
    C: FnOnce(MonoioEnv, Ground) -> F + 'static,
{
    let scene = Scene::new(name);
    start_monoio(Driver::Legacy, boxed(case, scene.ground())).unwrap();
}

#[cfg(feature = "monoio")]
fn start_monoio(driver: Driver, main: Main<MonoioEnv>) -> Result<(), RunError> {
    run_on(driver, spec("case"), main)
}

/// Ends the process when it is not dropped in time: an executor that hangs cannot be unwound.
struct Watchdog {
    _alive: SyncSender<()>,
}

impl Watchdog {
    fn start(name: &'static str, directory: PathBuf) -> Self {
        let (alive, ended): (_, Receiver<()>) = sync_channel(1);
        let watch = move || {
            if ended.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs since {} s: aborting", HANG.as_secs());
                let _ = fs::remove_dir_all(&directory);
                process::abort();
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(watch).unwrap();
        Self { _alive: alive }
    }
}

/// Removes the directory when dropped, also by a panic.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a case gets and what watches it.
struct Scene {
    directory: Directory,
    _watchdog: Watchdog,
}

impl Scene {
    fn new(name: &'static str) -> Self {
        // Below the target folder: the temporary one may have no direct I/O.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        let watchdog = Watchdog::start(name, path.clone());
        Self { directory: Directory(path), _watchdog: watchdog }
    }

    fn ground(&self) -> Ground {
        Ground {
            directory: self.directory.0.clone(),
            device: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            real: true,
            bulk_bytes: 64 << 20,
        }
    }
}
