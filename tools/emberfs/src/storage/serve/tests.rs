use std::fs;

use super::*;
use crate::testing::Folder;

fn args(line: &str) -> Args {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }
    Alone::try_parse_from(line.split(' ')).unwrap().args
}

fn folder(name: &str, section: &str) -> (Folder, String, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new(name);
    let (cluster, config) = (folder.path("cluster.toml"), folder.path("storage.toml"));
    let secret = "5a".repeat(32);
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    fs::write(&cluster, format!("id = '{id}'\nsecret = '{secret}'\n")).unwrap();
    fs::set_permissions(&cluster, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&config, format!("[cluster]\nfile = 'cluster.toml'\n{section}")).unwrap();
    (folder, cluster.display().to_string(), config.display().to_string())
}

fn told(settings: &Settings) -> String {
    let mut text = String::new();
    for ShardSpec { core, listen, stores } in &settings.shards {
        let names = stores.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
        let names: Vec<&str> = names.collect();
        let core = core.as_ref().and_then(|core| core.cpu).map(|cpu| format!("{cpu}:"));
        text += &format!("{}{listen}={} ", core.unwrap_or_default(), names.join("+"));
    }
    let advertise: Vec<String> = settings.advertise.iter().map(HostPort::to_string).collect();
    let identity = settings.identity.file_name().unwrap().to_str().unwrap();
    format!(
        "{text}[{}] {:?} {identity} {}",
        advertise.join(","),
        settings.managers,
        settings.domain
    )
}

#[test]
fn flags_override_the_file_which_overrides_defaults() {
    let section = "[storage]\nlisten = '0.0.0.0:7400'\nadvertise = 'n1:7400'\nidentity = 'id'\n\
                   stores = ['a', 'b']\nmanagers = '127.0.0.1:9'\ndomain = 'rack 1'\n\
                   full_permille = 900\noverlay = '1MiB'\npool = '32MiB'\n";
    let (_folder, cluster, config) = folder("storage-serve", section);
    for (line, expected) in [
        (
            format!("serve --cluster {cluster} --identity me --store s --store t"),
            "127.0.0.1:7300=s+t [] [127.0.0.1:7200] me ",
        ),
        (format!("serve --config {config}"), "0.0.0.0:7400=a+b [n1:7400] [127.0.0.1:9] id rack 1"),
        (
            format!(
                "serve --config {config} --listen 127.0.0.1:0 --advertise x:1,y:2 --store c \
                 --managers 127.0.0.1:1,127.0.0.1:2 --identity you --domain d"
            ),
            "127.0.0.1:0=c [x:1,y:2] [127.0.0.1:1, 127.0.0.1:2] you d",
        ),
    ] {
        let settings =
            Settings::new(&args(&line)).unwrap_or_else(|failure| panic!("{:#}", failure.error));
        assert_eq!(told(&settings), expected, "{line}");
        assert_eq!(settings.store.cluster, Some(settings.cluster.id));
    }
    let settings = Settings::new(&args(&format!("serve --config {config}"))).unwrap();
    let StoreConfig { full_permille, overlay_bytes_max, .. } = settings.store;
    assert_eq!((full_permille, overlay_bytes_max, settings.pool), (900, 1 << 20, 32 << 20));
    assert_eq!(settings.core().pool_bytes, 32 << 20);
}

#[test]
fn shards_have_cores_of_their_own() {
    let section = "[storage]\nidentity = 'id'\nshards = [\n\
                   { core = 2, listen = '127.0.0.1:1', stores = ['a', 'b'] },\n\
                   { core = 0, listen = '127.0.0.1:2', stores = 'c' }]\n";
    let (_folder, _, config) = folder("storage-shards", section);
    let settings = Settings::new(&args(&format!("serve --config {config}"))).unwrap();
    let expected = "2:127.0.0.1:1=a+b 0:127.0.0.1:2=c [] [127.0.0.1:7200] id ";
    assert_eq!(told(&settings), expected);
    assert_eq!(settings.core().pool_bytes, NODE_POOL_BYTES);
    let refused = Settings::new(&args(&format!("serve --config {config} --store d"))).unwrap_err();
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.error.to_string().contains("--listen and --store"), "{}", refused.error);
}

#[test]
fn what_cannot_work_is_refused_before_anything_begins() {
    let (_folder, cluster, config) = folder("storage-refused", "");
    for (line, expected) in [
        ("serve".to_owned(), "--cluster is missing"),
        (format!("serve --cluster {cluster}"), "--identity is missing"),
        (format!("serve --cluster {cluster} --identity i"), "--store is missing"),
        (format!("serve --config {config}"), "has no section [storage]"),
        (format!("serve --cluster {cluster} --identity i --store s --store s"), "s is there twice"),
        (
            format!("serve --cluster {cluster} --identity i --store s --listen 0.0.0.0:1"),
            "--listen: nobody can connect to 0.0.0.0:1",
        ),
        (
            format!("serve --cluster {cluster} --identity i --store s --pool 1MiB"),
            "--pool: found 1 MiB, expected 16 MiB to 1 TiB",
        ),
    ] {
        let refused = Settings::new(&args(&line)).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage, "{line}");
        let found = format!("{:#}", refused.error);
        assert!(found.contains(expected), "{line}: {found}");
    }
}

#[test]
fn the_end_of_a_role_has_an_exit_code() {
    use std::io;
    let io = |kind| RoleError::Io { what: "listen".to_owned(), source: io::Error::from(kind) };
    let store = RoleError::Store { path: "s".to_owned(), why: "it is none".to_owned() };
    let core = engine_types::CoreId::new(1);
    let panicked = RoleError::Panicked { core, why: "own mistake".to_owned() };
    for (error, exit, expected) in [
        (io(io::ErrorKind::AddrInUse), Exit::Environment, "listen: "),
        (store, Exit::Problem, "store s: it is none"),
        (panicked, Exit::Environment, "shard core-1 has panicked: own mistake"),
        (RoleError::Refused { why: "no".to_owned() }, Exit::Problem, "the cluster refuses"),
    ] {
        let failure = refused(error, ([127, 0, 0, 1], 1).into());
        assert_eq!(failure.exit, exit);
        assert!(format!("{:#}", failure.error).contains(expected), "{:#}", failure.error);
        assert!(failure.hint.is_some());
    }
}
