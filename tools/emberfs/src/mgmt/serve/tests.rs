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

fn with_cluster(name: &str) -> (Folder, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new(name);
    let path = folder.path("cluster.toml");
    let secret = "5a".repeat(32);
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    fs::write(&path, format!("id = '{id}'\nsecret = '{secret}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn flags_override_the_file_which_overrides_defaults() {
    let (folder, cluster) = with_cluster("mgmt-serve");
    let config = folder.path("mgmt.toml");
    let text = "[cluster]\nfile = 'cluster.toml'\n[mgmt]\nlisten = '0.0.0.0:7300'\n\
                advertise = 'm1:7300'\nkv = '127.0.0.1:7301'\nnode = 4\nname = 'old'\n";
    fs::write(&config, text).unwrap();
    let config = config.display();
    let whole = format!(
        "serve --config {config} --listen 127.0.0.1:0 --advertise a:1,b:2 --kv 127.0.0.1:9 \
         --node 5 --name new"
    );
    for (line, expected) in [
        (
            format!("serve --cluster {cluster}"),
            "127.0.0.1:7200  127.0.0.1:7100 node-1 emberfs".to_owned(),
        ),
        (
            format!("serve --config {config}"),
            "0.0.0.0:7300 m1:7300 127.0.0.1:7301 node-4 old".to_owned(),
        ),
        (whole, "127.0.0.1:0 a:1,b:2 127.0.0.1:9 node-5 new".to_owned()),
    ] {
        let Settings { listen, advertise, kv, node, name, .. } =
            Settings::new(&args(&line)).unwrap_or_else(|failure| panic!("{:#}", failure.error));
        let told: Vec<String> = advertise.iter().map(HostPort::to_string).collect();
        assert_eq!(format!("{listen} {} {kv} {node} {name}", told.join(",")), expected, "{line}");
    }
}

#[test]
fn what_cannot_work_is_refused_before_anything_begins() {
    let (_folder, cluster) = with_cluster("mgmt-refused");
    for (line, expected) in [
        ("serve".to_owned(), "--cluster is missing"),
        (
            format!("serve --cluster {cluster} --listen 0.0.0.0:7200"),
            "--listen: nobody can connect to 0.0.0.0:7200",
        ),
        (
            format!("serve --cluster {cluster} --advertise [::]:7200"),
            "--advertise: nobody can connect to [::]:7200",
        ),
    ] {
        let failure = Settings::new(&args(&line)).err().unwrap();
        assert_eq!(failure.exit, Exit::Usage, "{line}");
        assert!(failure.error.to_string().starts_with(expected), "{line}: {}", failure.error);
    }
}

#[test]
fn leases_of_tests_are_short() {
    let times = test_times("1s").unwrap();
    assert_eq!((times.primary(), times.storage()), (Duration::from_secs(1), BEAT_MIN * 4));
    assert!(test_times("1ms").unwrap_err().contains("primary lease"));
    assert!(test_times("1").is_err());
}

#[test]
fn a_foreign_kv_is_a_problem() {
    use engine_types::ClusterId;
    let (found, expected) = (ClusterId::new(1), ClusterId::new(2));
    let listen = "127.0.0.1:7200".parse().unwrap();
    let failure =
        refused(io::Error::other(TakeoverError::OtherCluster { found, expected }), listen);
    assert_eq!((failure.exit, failure.hint.is_some()), (Exit::Problem, true));
    let failure = refused(io::Error::from(io::ErrorKind::AddrInUse), listen);
    assert_eq!(failure.exit, Exit::Environment);
}
