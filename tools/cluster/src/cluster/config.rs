//! What processes are told: their configuration files. Paths are relative to them.

use core::fmt::Write as _;

use super::Cluster;
use crate::folder::Home;
use crate::name::Name;
use crate::plan::Plan;

/// The configuration of a process, as it is to be started now.
pub(super) fn of(cluster: &Cluster, name: Name) -> String {
    let listen = cluster.slot(name).listen();
    let mut text =
        "# Written anew at each start.\n[cluster]\nfile = \"../cluster.toml\"\n".to_owned();
    match name {
        Name::Kv => write!(text, "\n[kv]\ndir = \"data\"\nlisten = \"{listen}\"\n"),
        Name::Manager(number) => {
            let kv = cluster.slot(Name::Kv).listen();
            write!(text, "\n[mgmt]\nlisten = \"{listen}\"\nkv = \"{kv}\"\nnode = {number}\n")
        }
        Name::Storage(number) => {
            text += &storage(&cluster.plan, number, &listen, &managers(cluster), cores());
            Ok(())
        }
        Name::Meta(number) => {
            let (kv, managers) = (cluster.slot(Name::Kv).listen(), managers(cluster));
            let settings = &cluster.plan.meta_settings;
            write!(
                text,
                "\n[meta]\nlisten = \"{listen}\"\nkv = \"{kv}\"\nmanagers = [{managers}]\n\
                 node = {number}\n{settings}"
            )
        }
    }
    .expect("a String takes everything");
    text
}

/// Where the managers listen, as a list has it.
fn managers(cluster: &Cluster) -> String {
    let all: Vec<String> =
        cluster.managers().iter().map(|address| format!("\"{address}\"")).collect();
    all.join(", ")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The section of a storage node. Shards of several nodes share the cores of the machine evenly.
fn storage(plan: &Plan, number: usize, listen: &str, managers: &str, cores: usize) -> String {
    let mut text = format!(
        "\n[storage]\nidentity = \"identity\"\nmanagers = [{managers}]\ndomain = \"{}\"\n",
        Name::Storage(number)
    );
    let stores = |shard: usize| {
        let all = (0..plan.stores).map(|at| Home::store_name(shard * plan.stores + at));
        all.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    if plan.shards == 1 {
        text += &format!("listen = \"{listen}\"\nstores = [{}]\n", stores(0));
    } else {
        text += "shards = [\n";
        for shard in 0..plan.shards {
            let core = ((number - 1) * plan.shards + shard) % cores;
            // Others are told by the first one where the others listen.
            let listen = if shard == 0 { listen } else { "127.0.0.1:0" };
            text += &format!(
                "  {{ core = {core}, listen = \"{listen}\", stores = [{}] }},\n",
                stores(shard)
            );
        }
        text += "]\n";
    }
    if let Some(pool) = plan.pool_bytes {
        text += &format!("pool = \"{pool}\"\n");
    }
    text + &plan.storage_settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_cores_and_divide_stores() {
        let plan = Plan { shards: 2, stores: 2, ..Plan::new("emberfs", "/nowhere") };
        let text = storage(&plan, 2, "127.0.0.1:7", "\"127.0.0.1:1\"", 3);
        let expected = [
            "",
            "[storage]",
            "identity = \"identity\"",
            "managers = [\"127.0.0.1:1\"]",
            "domain = \"storage-2\"",
            "shards = [",
            "  { core = 2, listen = '127.0.0.1:7', stores = ['store-0.img', 'store-1.img'] },",
            "  { core = 0, listen = '127.0.0.1:0', stores = ['store-2.img', 'store-3.img'] },",
            "]",
        ];
        let (head, shards) = text.split_once("shards").unwrap();
        let text = format!("{head}shards{}", shards.replace('"', "'"));
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn settings_stand_at_the_end() {
        let plan = Plan {
            pool_bytes: Some(1 << 25),
            storage_settings: "discard = false\n".to_owned(),
            ..Plan::new("emberfs", "/nowhere")
        };
        let text = storage(&plan, 1, "127.0.0.1:0", "", 1);
        let expected = "listen = \"127.0.0.1:0\"\nstores = [\"store-0.img\"]\npool = \"33554432\"\n\
            discard = false\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
