//! The cores of a setting: manager, storage node, served store, services, client.
//!
//! All of them are roles that ship, and none is pinned: there are more busy cores than CPUs, and
//! the kernel places them better than we would.

use std::sync::mpsc::{self, Receiver};

use engine_runtime::Sender;
use meta_kv::engine::redb::RedbEngine;

use super::client::{self, ClientCore, Peers};
use super::replay::Averages;
use super::service::{self, ServiceCore};
use super::shape::{Shape, Side};
use crate::cores::{self, Core, join};
use crate::cpu::CpuUsed;
use crate::kv::place::Store;
use crate::kv::serve::{self, Serve};
use crate::meter::Taken;
use crate::runtime::Runtime;
use crate::stats::{Division, Slice, latency_histogram};
use crate::storage::answer;
use crate::storage::nodes::{self, Control, Folder, Node};
use crate::store::device::Kind;
use crate::suite::{Event, Plan};

/// What ships: storage nodes on glommio, everything else on monoio.
const NODE: Runtime = Runtime::Glommio;
const OTHERS: Runtime = Runtime::Monoio;
/// A store that holds no bytes: only that there is a chain counts.
const NODE_BYTES: u64 = 1 << 30;

type Running = Core<Result<(), String>>;

/// Everything that runs for a setting. Dropping it leaves the cores to end by themselves.
pub(super) struct Ground {
    client: Sender<client::Order>,
    services: Vec<Sender<service::Order>>,
    kv: serve::Endpoint,
    node: nodes::Endpoint,
    control: nodes::Endpoint,
    /// In the order in which they end.
    cores: Vec<(&'static str, Vec<Running>)>,
    _store: Store<RedbEngine>,
    _folder: Folder,
}

/// Starts a core that says when it is ready.
fn started<T>(from: &Receiver<T>, name: &str, core: Running) -> Result<(T, Running), String> {
    match answer(from, name) {
        Ok(endpoint) => Ok((endpoint, core)),
        Err(_) => Err(join(core)?.err().unwrap_or(format!("{name} has ended"))),
    }
}

impl Ground {
    /// Starts everything, with `services` services.
    ///
    /// # Errors
    /// Why something cannot start.
    pub(super) fn start(
        services: u32,
        plan: &Plan,
        division: Division,
        report: &mut dyn FnMut(Event),
    ) -> Result<Self, String> {
        let keys = plan.keys.stored;
        report(Event::Preparing(format!("{services} services, a store of {keys} keys")));
        let store: Store<RedbEngine> = Store::filled(&plan.storage.dir, keys)?;
        let folder = Folder::new("meta")?;

        let (ready, told) = mpsc::channel();
        let core = cores::spawn("bench-control", None, OTHERS, Control { ready })?;
        let (control, control_core) = started(&told, "the manager", core)?;
        let (ready, told) = mpsc::channel();
        let node = Node {
            number: 1,
            place: Kind::Disk.place(&plan.storage, NODE_BYTES, 0)?,
            manager: control.address,
            identity: folder.file(&format!("{services}")),
            ready,
        };
        let core = cores::spawn("bench-node", None, NODE, node)?;
        let (node, node_core) = started(&told, "the storage node", core)?;
        let (ready, told) = mpsc::channel();
        let serve = Serve { engine: store.engine.clone(), ready };
        let core = cores::spawn("bench-kvd", None, OTHERS, serve)?;
        let (kv, kv_core) = started(&told, "the key-value store", core)?;

        let (mut orders, mut nulls, mut service_cores) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=services {
            let (ready, told) = mpsc::channel();
            let (kv, manager) = (kv.address, control.address);
            let core = ServiceCore { number, kv, manager, division, ready };
            let core = cores::spawn(&format!("bench-meta-{number}"), None, OTHERS, core)?;
            let (endpoint, core) = started(&told, "a service", core)?;
            orders.push(endpoint.orders);
            nulls.push(endpoint.null);
            service_cores.push(core);
        }
        let (ready, told) = mpsc::channel();
        let node_at = (node.address, node.store);
        let peers = Peers { manager: control.address, node: node_at, kv: kv.address, nulls };
        let core = ClientCore { peers, division, ready };
        let core = cores::spawn("bench-client", None, OTHERS, core)?;
        let (client, client_core) = started(&told, "the client", core)?;
        let cores = vec![
            ("client", vec![client_core]),
            ("service", service_cores),
            ("key-value store", vec![kv_core]),
            ("storage node", vec![node_core]),
            ("manager", vec![control_core]),
        ];
        let (services, _store, _folder) = (orders, store, folder);
        Ok(Self { client, services, kv, node, control, cores, _store, _folder })
    }

    /// Makes what a row needs, and has the services' transactions noted for one slice.
    ///
    /// # Errors
    /// Why it cannot be measured.
    pub(super) fn prepare(&self, shape: Shape) -> Result<Averages, String> {
        self.ask_client(client::Ask::Prepare(shape))?;
        self.ask_services(service::Ask::Note)?;
        self.ask_client(client::Ask::Slice(Side::Subject))?;
        let changes = shape.work.is_change();
        let loaded = self.ask_services(service::Ask::Load { changes })?;
        let mut averages = loaded.iter().filter_map(|told| match told {
            service::Told::Loaded(averages) => Some(*averages),
            _ => None,
        });
        averages.next().filter(|averages| 0 < averages.transactions).ok_or_else(|| {
            "no transaction of a service was noted: a longer --seconds notes some".to_owned()
        })
    }

    /// Measures a slice of one side.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn slice(&self, side: Side, shape: Shape) -> Result<client::Told, String> {
        if !side.is_of_services() {
            return self.ask_client(client::Ask::Slice(side));
        }
        let count = u32::try_from(self.services.len()).unwrap_or(1);
        let tasks = (shape.tasks / count).max(1);
        let told = self.ask_services(service::Ask::Slice(side, tasks))?;
        let taken = told.into_iter().filter_map(|told| match told {
            service::Told::Taken(taken) => Some(taken),
            _ => None,
        });
        Ok(client::Told::of(together(taken.collect())?))
    }

    fn ask_client(&self, ask: client::Ask) -> Result<client::Told, String> {
        let (to, told) = mpsc::channel();
        let sent = self.client.try_send(client::Order { ask, answer: to });
        sent.map_err(|_| "the client has ended".to_owned())?;
        answer(&told, "the client")?
    }

    fn ask_services(&self, ask: service::Ask) -> Result<Vec<service::Told>, String> {
        let mut asked = Vec::new();
        for service in &self.services {
            let (to, told) = mpsc::channel();
            let sent = service.try_send(service::Order { ask, answer: to });
            sent.map_err(|_| "a service has ended".to_owned())?;
            asked.push(told);
        }
        asked.iter().map(|told| answer(told, "a service")?).collect()
    }

    /// Ends everything, those that ask first.
    ///
    /// # Errors
    /// How the first core failed.
    pub(super) fn stop(self) -> Result<(), String> {
        let Self { client, services, kv, node, control, cores, _store, _folder } = self;
        let mut done = Ok(());
        let mut ends = cores.into_iter();
        let mut end = || {
            let Some((name, cores)) = ends.next() else { return };
            for core in cores {
                let ended = join(core).and_then(|ended| ended);
                done = done.clone().and(ended.map_err(|why| format!("{name}: {why}")));
            }
        };
        drop(client);
        end();
        drop(services);
        end();
        drop(kv);
        end();
        drop(node);
        end();
        drop(control);
        end();
        done
    }
}

/// Slices of several cores at the same time: what all of them did, in the time of the first, which
/// has counted the CPU time of the process.
fn together(taken: Vec<Taken>) -> Result<Taken, String> {
    let first = taken.first().ok_or("nobody was asked")?;
    let Slice { nanos, cpu, .. } = first.slice;
    let scaled = |value: u64, of: &Slice| value as f64 * nanos as f64 / of.nanos.max(1) as f64;
    let sum = |value: fn(&Slice) -> u64| {
        #[expect(clippy::cast_possible_truncation, reason = "operations and time of a slice")]
        #[expect(clippy::cast_sign_loss, reason = "a sum of what is not negative")]
        let sum = taken.iter().map(|one| scaled(value(&one.slice), &one.slice)).sum::<f64>() as u64;
        sum
    };
    let callers = sum(|slice| slice.cpu.client_nanos).min(cpu.process_nanos());
    let rest = cpu.process_nanos() - callers;
    let cpu = CpuUsed { client_nanos: callers, server_nanos: rest };
    let mut latency = latency_histogram();
    for one in &taken {
        latency.add(&one.latency).map_err(|error| error.to_string())?;
    }
    let all_ops = taken.iter().map(|one| one.all_ops).sum();
    Ok(Taken { slice: Slice { ops: sum(|slice| slice.ops), nanos, cpu }, latency, all_ops })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_do_at_the_same_time_adds_up() {
        let taken = |ops, nanos, client_nanos, server_nanos| {
            let cpu = CpuUsed { client_nanos, server_nanos };
            let latency = latency_histogram();
            Taken { slice: Slice { ops, nanos, cpu }, latency, all_ops: ops }
        };
        // The second one's slice was twice as long; its process is the same.
        let both = together(vec![taken(100, 1_000, 30, 70), taken(100, 2_000, 80, 120)]).unwrap();
        assert_eq!((both.slice.ops, both.slice.nanos), (150, 1_000));
        assert_eq!(both.slice.cpu, CpuUsed { client_nanos: 70, server_nanos: 30 });
    }
}
