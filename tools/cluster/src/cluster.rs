//! A cluster that runs.

use core::net::SocketAddr;
use core::time::Duration;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use engine_types::ClusterId;

use crate::clock::{Stopwatch, pause};
use crate::error::ClusterError;
use crate::folder::{Folder, Home, remove_left, rename};
use crate::layout;
use crate::name::Name;
use crate::operator::{Operator, Said, text};
use crate::plan::Plan;
use crate::slot::Slot;
use crate::starter::Starter;
use crate::system::Signal;
use crate::tail::Tail;

mod config;

/// Between two questions whether something has happened: each is a process.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How long a manager may be silent in such a question: one that is frozen is not waited for.
const STATUS_TIME: &str = "1s";

/// A cluster on this machine; everything ends when it is dropped, at once. [`Cluster::stop`] ends
/// it in order.
#[derive(Debug)]
pub struct Cluster {
    /// The key-value store, the managers, the nodes.
    pub(crate) slots: Vec<Slot>,
    plan: Plan,
    cluster: ClusterId,
    /// After the slots: what it has started is killed with it in any case.
    starter: Starter,
    folder: Folder,
}

impl Cluster {
    /// Starts a cluster, a new one or that of the directory, and waits until all chains are whole.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing runs then.
    pub fn start(plan: Plan) -> Result<Self, ClusterError> {
        Self::start_telling(plan, &mut |_| ())
    }

    /// The same; `tell` hears of each step before it is taken.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing runs then.
    pub fn start_telling(plan: Plan, tell: &mut dyn FnMut(&str)) -> Result<Self, ClusterError> {
        plan.check()?;
        let folder = Folder::open(&plan.dir)?;
        let file = folder.cluster_file();
        let operator = Operator::new(&plan.binary, file.clone(), &[]);
        if !file.exists() {
            tell("making a cluster");
            let fresh = folder.root().join("cluster.toml.new");
            remove_left(&fresh)?;
            operator.ask(&["cluster".as_ref(), "create".as_ref(), fresh.as_os_str()])?;
            rename(&fresh, &file)?;
        }
        let shown = operator.ask(&["cluster".as_ref(), "show".as_ref(), file.as_os_str()])?;
        let found = shown.first().and_then(|document| text(document, "cluster"));
        let found = found.unwrap_or_default();
        let cluster = found.parse().map_err(|_| ClusterError::Answer {
            command: "cluster show".to_owned(),
            expected: "the id of a cluster",
            found,
        })?;
        let slots = slots(&plan, &folder)?;
        let starter = Starter::new()
            .map_err(|source| ClusterError::Start { what: "a thread".to_owned(), source })?;
        let mut this = Self { slots, plan, cluster, starter, folder };
        this.begin(tell)?;
        Ok(this)
    }

    fn begin(&mut self, tell: &mut dyn FnMut(&str)) -> Result<(), ClusterError> {
        self.create_kv()?;
        tell("starting the key-value store");
        self.start_all(&[Name::Kv])?;
        tell("starting the managers");
        let managers: Vec<Name> = (1..=self.plan.managers).map(Name::Manager).collect();
        self.start_all(&managers)?;
        self.until_primary()?;
        if 0 < self.plan.nodes {
            self.begin_nodes(tell)?;
        }
        let metas: Vec<Name> = (1..=self.plan.metas).map(Name::Meta).collect();
        if metas.is_empty() {
            return Ok(());
        }
        tell("starting the metadata services");
        self.start_all(&metas)?;
        self.until_metas_ready()
    }

    fn begin_nodes(&mut self, tell: &mut dyn FnMut(&str)) -> Result<(), ClusterError> {
        let nodes: Vec<Name> = (1..=self.plan.nodes).map(Name::Storage).collect();
        tell("formatting stores");
        for name in &nodes {
            self.format_stores(*name)?;
        }
        tell("starting the storage nodes");
        self.start_all(&nodes)?;
        self.until_registered()?;
        tell("creating chains");
        let addresses = nodes.iter().map(|name| (*name, self.slot(*name).listen()));
        let addresses: Vec<_> = addresses.collect();
        let file = self.folder.root().join("chains.txt");
        layout::create(&self.operator(), &self.plan, &addresses, |lines| {
            fs::write(&file, lines).map_err(ClusterError::file("write", &file))?;
            Ok(file.clone())
        })?;
        tell("waiting until all chains are whole");
        self.until_whole(self.plan.patience)
    }

    fn create_kv(&self) -> Result<(), ClusterError> {
        let home = &self.slot(Name::Kv).home;
        let (data, fresh) = (home.path("data"), home.path("data.new"));
        if data.exists() {
            return Ok(());
        }
        remove_left(&fresh)?;
        let (dir, cluster) = (fresh.as_os_str(), self.folder.cluster_file());
        let line: [&OsStr; 6] = [
            "kv".as_ref(),
            "create".as_ref(),
            "--dir".as_ref(),
            dir,
            "--cluster".as_ref(),
            cluster.as_os_str(),
        ];
        self.operator().ask(&line)?;
        rename(&fresh, &data)
    }

    fn format_stores(&self, name: Name) -> Result<(), ClusterError> {
        let home = &self.slot(name).home;
        let (size, cluster) = (self.plan.store_bytes.to_string(), self.cluster.to_string());
        for index in 0..self.plan.shards * self.plan.stores {
            let path = home.path(&Home::store_name(index));
            if path.exists() {
                continue;
            }
            let fresh = path.with_extension("new");
            remove_left(&fresh)?;
            let line: [&OsStr; 7] = [
                "store".as_ref(),
                "format".as_ref(),
                fresh.as_os_str(),
                "--size".as_ref(),
                size.as_ref(),
                "--cluster".as_ref(),
                cluster.as_ref(),
            ];
            self.operator().ask(&line)?;
            rename(&fresh, &path)?;
        }
        Ok(())
    }

    /// Where the cluster file is.
    pub fn cluster_file(&self) -> PathBuf {
        self.folder.cluster_file()
    }

    /// The directory of it all.
    pub fn dir(&self) -> &Path {
        self.folder.root()
    }

    /// All processes, in the order in which they are started.
    pub fn names(&self) -> Vec<Name> {
        self.slots.iter().map(|slot| slot.name).collect()
    }

    /// Where the managers listen.
    pub fn managers(&self) -> Vec<SocketAddr> {
        let managers = self.slots.iter().filter(|slot| matches!(slot.name, Name::Manager(_)));
        managers.filter_map(|slot| slot.address).collect()
    }

    /// Where a process listens, or did.
    pub fn address(&self, name: Name) -> Option<SocketAddr> {
        self.slots.iter().find(|slot| slot.name == name)?.address
    }

    /// The number of a process that runs.
    pub fn pid(&mut self, name: Name) -> Option<u32> {
        let slot = self.slots.iter_mut().find(|slot| slot.name == name)?;
        let running = slot.running.as_mut()?;
        running.ended().is_none().then(|| running.pid())
    }

    /// A path in the folder of a process: `log`, `config.toml`, `store-0.img`.
    pub fn path(&self, name: Name, file: &str) -> PathBuf {
        self.folder.root().join(name.to_string()).join(file)
    }

    /// The last words of a process.
    pub fn tail(&self, name: Name) -> Tail {
        Tail::of(&self.path(name, "log"))
    }

    /// Runs a command of `emberfs` as an operator of this cluster, whatever comes of it.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn emberfs(&self, arguments: &[&str]) -> Result<Said, ClusterError> {
        self.operator().run(arguments)
    }

    pub(crate) fn operator(&self) -> Operator {
        Operator::new(&self.plan.binary, self.folder.cluster_file(), &self.managers())
    }

    fn slot(&self, name: Name) -> &Slot {
        let slot = self.slots.iter().find(|slot| slot.name == name);
        slot.expect("names come from the plan, as slots do")
    }

    fn slot_mut(&mut self, name: Name) -> Result<&mut Slot, ClusterError> {
        let slot = self.slots.iter_mut().find(|slot| slot.name == name);
        slot.ok_or(ClusterError::State { name, what: "is none of this cluster" })
    }

    /// Starts processes that do not run, all at once, and waits until all of them serve.
    fn start_all(&mut self, names: &[Name]) -> Result<(), ClusterError> {
        for name in names {
            let config = config::of(self, *name);
            let slot = self.slots.iter_mut().find(|slot| slot.name == *name);
            let slot = slot.expect("names come from the plan, as slots do");
            slot.begin(&self.starter, &self.plan, &config)?;
        }
        let patience = self.plan.patience;
        for name in names {
            self.slot_mut(*name)?.until_ready(patience)?;
        }
        // Now with the ports that were found, for whoever reads them.
        for name in names {
            self.slot(*name).home.write("config.toml", &config::of(self, *name))?;
        }
        Ok(())
    }

    /// Starts a process that does not run, and waits until it serves. It comes back at its address.
    ///
    /// # Errors
    /// It runs, or does not come to serve.
    pub fn start_one(&mut self, name: Name) -> Result<SocketAddr, ClusterError> {
        let slot = self.slot_mut(name)?;
        if slot.running.as_mut().is_some_and(|running| running.ended().is_none()) {
            return Err(ClusterError::State { name, what: "runs already" });
        }
        slot.running = None;
        self.start_all(&[name])?;
        self.address(name).ok_or(ClusterError::State { name, what: "has no address" })
    }

    /// SIGKILL. It is not started again unless it is asked for.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, name: Name) -> Result<(), ClusterError> {
        let slot = self.slot_mut(name)?;
        slot.wanted = false;
        let running = slot.running.take();
        let mut running = running.ok_or(ClusterError::State { name, what: "does not run" })?;
        running.kill();
        Ok(())
    }

    /// SIGKILL to several at the same moment.
    ///
    /// # Errors
    /// One does not run; the others are killed all the same.
    pub fn kill_all(&mut self, names: &[Name]) -> Result<(), ClusterError> {
        for name in names {
            if let Some(running) = &mut self.slot_mut(*name)?.running {
                running.signal(Signal::Kill);
            }
        }
        let ends: Vec<_> = names.iter().map(|name| self.kill(*name)).collect();
        ends.into_iter().collect()
    }

    /// SIGSTOP: it does nothing any more, and its connections stand.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&mut self, name: Name) -> Result<(), ClusterError> {
        self.signal(name, Signal::Stop)
    }

    /// SIGCONT: it goes on where it was stopped.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&mut self, name: Name) -> Result<(), ClusterError> {
        self.signal(name, Signal::Continue)
    }

    fn signal(&mut self, name: Name, signal: Signal) -> Result<(), ClusterError> {
        let running = self.slot_mut(name)?.running.as_mut();
        let running = running.ok_or(ClusterError::State { name, what: "does not run" })?;
        running.signal(signal);
        Ok(())
    }

    /// SIGTERM; SIGKILL if it has not ended within the patience of the plan.
    ///
    /// # Errors
    /// It does not run, had to be killed, or did not end with 0.
    pub fn stop_one(&mut self, name: Name) -> Result<(), ClusterError> {
        self.stop_some(&[name])
    }

    /// Stops processes at the same time; those that do not run are left alone.
    fn stop_some(&mut self, names: &[Name]) -> Result<(), ClusterError> {
        for name in names {
            let slot = self.slot_mut(*name)?;
            slot.wanted = false;
            if let Some(running) = &mut slot.running {
                running.signal(Signal::Terminate);
                running.signal(Signal::Continue); // a frozen one would not hear of it
            }
        }
        let (watch, patience) = (Stopwatch::start(), self.plan.stop_patience);
        let mut first = Ok(());
        for &name in names {
            let Some(mut running) = self.slot_mut(name)?.running.take() else { continue };
            let left = patience.saturating_sub(watch.elapsed());
            let status = running.until_ended(left).or_else(|| running.kill());
            if let Some(status) = status.filter(|status| !status.success()) {
                let tail = running.tail();
                first = first.and(Err(ClusterError::Unclean { name, status, tail }));
            }
        }
        first
    }

    /// Ends everything in order: metadata services, nodes, managers, key-value store. Everything
    /// has ended afterwards, whatever comes of it.
    ///
    /// # Errors
    /// The first process that did not stop in order.
    pub fn stop(mut self) -> Result<(), ClusterError> {
        let mut done = Ok(());
        let groups: [fn(Name) -> bool; 4] = [
            |name| matches!(name, Name::Meta(_)),
            |name| matches!(name, Name::Storage(_)),
            |name| matches!(name, Name::Manager(_)),
            |name| name == Name::Kv,
        ];
        for group in groups {
            let names: Vec<Name> = self.names().into_iter().filter(|name| group(*name)).collect();
            done = done.and(self.stop_some(&names));
        }
        done
    }

    /// Processes that are to run and have ended: how, and their last words.
    pub fn dead(&mut self) -> Vec<(Name, ExitStatus, Tail)> {
        let mut dead = Vec::new();
        for slot in self.slots.iter_mut().filter(|slot| slot.wanted) {
            if let Some(running) = &mut slot.running
                && let Some(status) = running.ended()
            {
                dead.push((slot.name, status, running.tail()));
            }
        }
        dead
    }

    /// Waits until a manager is primary.
    ///
    /// # Errors
    /// None becomes it, or a process ends.
    pub fn until_primary(&mut self) -> Result<(), ClusterError> {
        self.until("a manager is primary", self.plan.patience, |operator| {
            let said = operator.run(&["mgmt", "status", "--timeout", STATUS_TIME, "--json"])?;
            let status = said.documents().pop().unwrap_or_default();
            let primary = status["primary"].is_string();
            Ok(if primary { None } else { Some(Tail::last(&said.err, false)) })
        })
    }

    /// Waits until every metadata service of the plan is known to the managers and ready.
    ///
    /// # Errors
    /// One does not become it, or a process ends.
    pub fn until_metas_ready(&mut self) -> Result<(), ClusterError> {
        let wanted = self.plan.metas;
        self.until("all metadata services are ready", self.plan.patience, |operator| {
            let said = operator.run(&["meta", "status", "--timeout", STATUS_TIME, "--json"])?;
            let all = said.documents();
            let ready = all.iter().filter(|service| service["ready"] == true).count();
            let seen = Tail::last(&format!("{ready} of {wanted} are; {}", said.err), false);
            Ok(if ready == wanted { None } else { Some(seen) })
        })
    }

    fn until_registered(&mut self) -> Result<(), ClusterError> {
        let names: Vec<String> =
            (1..=self.plan.nodes).map(|n| Name::Storage(n).to_string()).collect();
        self.until("all storage nodes are registered", self.plan.patience, |operator| {
            let found = layout::registered(operator)?;
            let missing = names.iter().filter(|name| !found.contains_key(*name));
            let missing: Vec<&str> = missing.map(String::as_str).collect();
            let seen = Tail::last(&format!("missing: {}", missing.join(", ")), false);
            Ok(if missing.is_empty() { None } else { Some(seen) })
        })
    }

    /// Waits until every member of every chain serves.
    ///
    /// # Errors
    /// That does not happen, or a process ends.
    pub fn until_whole(&mut self, patience: Duration) -> Result<(), ClusterError> {
        self.until("all chains are whole", patience, |operator| {
            let said = operator.run(&["chain", "list", "--unwhole", "--json"])?;
            if said.status.success() && said.out.trim().is_empty() {
                return Ok(None);
            }
            let chains = said.documents();
            let told = chains.iter().map(|chain| {
                let reasons: Vec<&str> = chain["reasons"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|r| r.as_str())
                    .collect();
                let name = chain["chain"].as_str().unwrap_or("a chain");
                format!("{name}: {}", reasons.join("; "))
            });
            let told: Vec<String> = told.chain([said.err.clone()]).collect();
            Ok(Some(Tail::last(&told.join("\n"), false)))
        })
    }

    /// Asks until `look` sees nothing any more that is in the way. A question that is refused is
    /// asked again: managers and nodes come and go.
    fn until(
        &mut self,
        what: &'static str,
        patience: Duration,
        mut look: impl FnMut(&Operator) -> Result<Option<Tail>, ClusterError>,
    ) -> Result<(), ClusterError> {
        let watch = Stopwatch::start();
        let operator = self.operator();
        loop {
            let tail = match look(&operator) {
                Ok(None) => return Ok(()),
                Ok(Some(tail)) => tail,
                Err(ClusterError::Command { tail, .. }) => tail,
                Err(error) => return Err(error),
            };
            if let Some((name, status, tail)) = self.dead().pop() {
                return Err(ClusterError::Ended { name, status, what, tail });
            }
            if patience <= watch.elapsed() {
                let seen = "last seen:".to_owned();
                let who = "the cluster".to_owned();
                return Err(ClusterError::Late { who, what, waited: patience, seen, tail });
            }
            pause(ASK_EVERY);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // All at once; each is waited for when its slot is dropped.
        for slot in &mut self.slots {
            if let Some(running) = &mut slot.running {
                running.signal(Signal::Kill);
            }
        }
    }
}

/// The processes of a plan. What the directory has more of would be lost from sight.
fn slots(plan: &Plan, folder: &Folder) -> Result<Vec<Slot>, ClusterError> {
    let other = |what, found: usize, expected: usize| ClusterError::OtherPlan {
        dir: folder.root().to_path_buf(),
        what,
        found: format!("at least {found}"),
        expected: expected.to_string(),
    };
    if folder.knows(Name::Storage(plan.nodes + 1)) {
        return Err(other("number of storage nodes", plan.nodes + 1, plan.nodes));
    }
    if folder.knows(Name::Meta(plan.metas + 1)) {
        return Err(other("number of metadata services", plan.metas + 1, plan.metas));
    }
    let mut names = vec![Name::Kv];
    names.extend((1..=plan.managers).map(Name::Manager));
    names.extend((1..=plan.nodes).map(Name::Storage));
    names.extend((1..=plan.metas).map(Name::Meta));
    let slot = |name: Name| Slot::new(name, folder.home(name)?);
    let slots: Vec<Slot> = names.into_iter().map(slot).collect::<Result<_, _>>()?;
    let stores = plan.shards * plan.stores;
    for slot in slots.iter().filter(|slot| matches!(slot.name, Name::Storage(_))) {
        if slot.home.path(&Home::store_name(stores)).exists() {
            return Err(other("number of stores of a node", stores + 1, stores));
        }
    }
    Ok(slots)
}
