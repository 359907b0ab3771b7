//! The cores of one setting, and the places of their data.

use std::sync::{Arc, mpsc};

use super::answer;
use super::caller::Peers;
use super::moved::Moved;
use super::nodes::{Control, Endpoint, Folder, Node};
use super::relay::{Endpoints, Relay};
use super::shape::{LARGE_BYTES, Setting, Shape, Side};
use super::worker::{Ask, ClientCore, Order, Orders, StoreCore};
use crate::cores::{self, Core, join};
use crate::cpu::CpuUsed;
use crate::meter::Taken;
use crate::runtime::Runtime;
use crate::stats::{Division, Slice, latency_histogram};
use crate::store::chunks::Fill;
use crate::store::device::{Kind, Place};
use crate::store::fio;
use crate::store::shape::Data;
use crate::suite::{Event, Plan};

/// What ships: nodes on glommio, clients on monoio.
const NODES: Runtime = Runtime::Glommio;
const CLIENT: Runtime = Runtime::Monoio;

/// Of what may be written, the share of one store: three replicas and as many limits, with room.
const SHARE: u64 = 8;
/// Data of a store at least: a chunk for each of the most operations in flight.
const DATA_MIN: u64 = 64 * LARGE_BYTES as u64;
/// Room of a store beside its data: metadata, what is written, and copies on write.
const ROOM: u64 = 1 << 30;
/// What fio writes to.
const DEVICE_BYTES: u64 = 512 << 20;

type Running = Core<Result<(), String>>;

/// Everything that runs for a setting. Dropping it leaves the cores to end by themselves.
pub(super) struct Ground {
    client: Orders,
    stores: Vec<Orders>,
    relays: Vec<Endpoints>,
    nodes: Vec<Endpoint>,
    control: Endpoint,
    /// Where the nodes' data is.
    places: Vec<Arc<Place>>,
    /// In the order in which they end.
    cores: Vec<(&'static str, Vec<Running>)>,
    _folder: Folder,
}

/// CPU of each node, and of the client.
fn cpus(setting: Setting) -> (Option<usize>, Option<usize>) {
    match setting {
        Setting::One => cores::two_cpus(),
        // More cores than CPUs: the kernel places them better than we would.
        Setting::Three => (None, None),
    }
}

/// A loop device whose memory has been found before anything is measured.
fn place(plan: &Plan, bytes: u64, written: bool) -> Result<Arc<Place>, String> {
    let place = Kind::Loop.place(&plan.storage, bytes, bytes)?;
    if written {
        fio::fill(&place)?;
        place.set_data_bytes(0);
    }
    Ok(place)
}

impl Ground {
    /// Starts what `shapes` need, and makes the data.
    ///
    /// # Errors
    /// Why something cannot start.
    pub(super) fn start(
        setting: Setting,
        shapes: &[Shape],
        plan: &Plan,
        division: Division,
        report: &mut dyn FnMut(Event),
    ) -> Result<Self, String> {
        let needs = |side| shapes.iter().any(|shape| shape.limits().contains(&side));
        let on_device = needs(Side::Store);
        let replicas = setting.replicas();
        let bytes = (plan.storage.bytes / SHARE).max(DATA_MIN);
        let (cpu, client_cpu) = cpus(setting);
        report(Event::Preparing(format!("{replicas} nodes with {bytes} bytes of data each")));

        let folder = Folder::new("storage")?;
        let (ready, started) = mpsc::channel();
        let control_core = cores::spawn("bench-control", None, CLIENT, Control { ready })?;
        let control = answer(&started, "the manager")?;
        let (mut nodes, mut node_cores, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=u32::try_from(replicas).unwrap_or(1) {
            let (ready, started) = mpsc::channel();
            let place = place(plan, bytes + ROOM, on_device)?;
            places.push(place.clone());
            let node = Node {
                number,
                place,
                manager: control.address,
                identity: folder.file(&format!("{}-{number}", setting.replicas())),
                ready,
            };
            let name = format!("bench-node-{number}");
            let core = cores::spawn(&name, cpu, NODES, node)?;
            match answer(&started, &name) {
                Ok(endpoint) => nodes.push(endpoint),
                Err(_) => return Err(join(core)?.err().unwrap_or(name + " has ended")),
            }
            node_cores.push(core);
        }
        let (relays, relay_cores) = start_relays(replicas, cpu)?;
        let first = relays.first().ok_or("no replica")?;
        let peers = Peers {
            manager: control.address,
            nodes: nodes.iter().map(|node| (node.address, node.store)).collect(),
            rpc: first.rpc,
            tcp: first.tcp,
        };
        let (stores, store_cores) = if on_device {
            let device = needs(Side::Device).then(|| place(plan, DEVICE_BYTES, true));
            let data = (bytes, device.transpose()?);
            start_stores(replicas, cpu, plan, division, data)?
        } else {
            (Vec::new(), Vec::new())
        };
        let (ready, started) = mpsc::channel();
        let client = ClientCore { peers, division, ready };
        let client_core = cores::spawn("bench-client", client_cpu, CLIENT, client)?;
        let Ok(client) = answer(&started, "the client") else {
            return Err(join(client_core)?.err().unwrap_or("the client has ended".to_owned()));
        };
        ask(&client, Ask::Fill(bytes)).and_then(|told| answer(&told, "the client")?)?;
        let cores = vec![
            ("client", vec![client_core]),
            ("store", store_cores),
            ("rpc server", relay_cores),
            ("node", node_cores),
            ("manager", vec![control_core]),
        ];
        Ok(Self { client, stores, relays, nodes, control, places, cores, _folder: folder })
    }

    /// Measures a slice of one side.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn slice(&self, side: Side, shape: Shape) -> Result<Taken, String> {
        let who: &[Orders] = match side {
            Side::Subject | Side::Rpc | Side::Tcp => core::slice::from_ref(&self.client),
            Side::Store => &self.stores,
            Side::Device => &self.stores[..1],
        };
        let asked: Result<Vec<_>, String> =
            who.iter().map(|who| ask(who, Ask::Slice(side, shape))).collect();
        let asked = asked?;
        let taken: Result<Vec<Taken>, String> =
            asked.iter().map(|told| answer(told, side.name())?).collect();
        all_of(side, taken?)
    }

    /// What the devices of all nodes have done up to now.
    ///
    /// # Errors
    /// When the kernel does not count.
    pub(super) fn devices(&self) -> Result<Moved, String> {
        let each = self.places.iter().map(|place| Moved::of(place));
        each.sum()
    }

    /// Ends everything, those that ask first.
    ///
    /// # Errors
    /// How the first core failed.
    pub(super) fn stop(self) -> Result<(), String> {
        let Self { client, stores, relays, nodes, control, places: _, cores, _folder } = self;
        let mut done = Ok(());
        let mut ends = cores.into_iter();
        let mut end = |what: &dyn Fn(&str, String) -> String| {
            let Some((name, cores)) = ends.next() else { return };
            for core in cores {
                let ended = join(core).and_then(|ended| ended).map_err(|why| what(name, why));
                done = done.clone().and(ended);
            }
        };
        let told = |name: &str, why: String| format!("{name}: {why}");
        drop(client);
        end(&told);
        drop(stores);
        end(&told);
        drop(relays);
        end(&told);
        drop(nodes);
        end(&told);
        drop(control);
        end(&told);
        done
    }
}

fn ask(whom: &Orders, ask: Ask) -> Result<mpsc::Receiver<Result<Taken, String>>, String> {
    let (answer, told) = mpsc::channel();
    let sent = whom.try_send(Order { ask, answer });
    sent.map_err(|_| "a core has ended".to_owned())?;
    Ok(told)
}

/// Stores that each did every operation: as many operations as each did on average, in the time of
/// the first, which has counted the CPU time of all of them. None of it is a client's.
fn all_of(side: Side, taken: Vec<Taken>) -> Result<Taken, String> {
    let count = taken.len().max(1) as u64;
    let first = taken.first().ok_or("nobody was asked")?;
    let Slice { nanos, mut cpu, .. } = first.slice;
    if side.is_below_servers() {
        cpu = CpuUsed { client_nanos: 0, server_nanos: cpu.process_nanos() };
    }
    // Slices of a core differ in length: ops of each are those of the first one's time.
    let rate = taken.iter().map(|one| one.slice.ops as f64 / one.slice.nanos.max(1) as f64);
    #[expect(clippy::cast_possible_truncation, reason = "operations of a slice")]
    let ops = (rate.sum::<f64>() * nanos as f64 / count as f64) as u64;
    let mut latency = latency_histogram();
    for one in &taken {
        latency.add(&one.latency).map_err(|error| error.to_string())?;
    }
    let all_ops = taken.iter().map(|one| one.all_ops).sum::<u64>() / count;
    Ok(Taken { slice: Slice { ops, nanos, cpu }, latency, all_ops })
}

/// Servers that hand on to one another, the last one first; the first one leads.
fn start_relays(
    count: usize,
    cpu: Option<usize>,
) -> Result<(Vec<Endpoints>, Vec<Running>), String> {
    let (mut relays, mut running) = (Vec::<Endpoints>::new(), Vec::new());
    for number in (0..count).rev() {
        let (ready, started) = mpsc::channel();
        let next = relays.first().map(|next| next.rpc);
        let name = format!("bench-rpc-{}", number + 1);
        let relay = Relay { number: 100 + u32::try_from(number).unwrap_or(0), next, ready };
        running.push(cores::spawn(&name, cpu, NODES, relay)?);
        relays.insert(0, answer(&started, &name)?);
    }
    Ok((relays, running))
}

fn start_stores(
    count: usize,
    cpu: Option<usize>,
    plan: &Plan,
    division: Division,
    (bytes, device): (u64, Option<Arc<Place>>),
) -> Result<(Vec<Orders>, Vec<Running>), String> {
    let (mut stores, mut running) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let place = place(plan, bytes + ROOM, true)?;
        let fill = Fill { place: place.clone(), data: Data::Large, bytes };
        join(cores::spawn("bench-fill", cpu, NODES, fill)?)??;
        let (ready, started) = mpsc::channel();
        let store = StoreCore { place, device: device.clone(), cpu, division, ready };
        let name = format!("bench-store-{number}");
        running.push(cores::spawn(&name, cpu, NODES, store)?);
        stores.push(answer(&started, &name)?);
    }
    Ok((stores, running))
}
