use std::fs;

use mgmt_protocol::{Refusal, RefusalCode};

use super::*;
use crate::exit::Exit;
use crate::testing::Folder;

fn managers(line: &str) -> Managers {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        managers: Managers,
    }
    Alone::try_parse_from(line.split(' ')).unwrap().managers
}

fn named(line: &str, variables: &[(&str, &str)]) -> Result<String, Failure> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let (managers, file) = managers(line).named(variable)?;
    let all: Vec<String> = managers.iter().map(HostPort::to_string).collect();
    Ok(format!("{} {}", all.join(","), file.display()))
}

#[test]
fn flags_come_before_the_environment() {
    let set = [("EMBERFS_MANAGERS", "a:1, b:2"), ("EMBERFS_CLUSTER", "e.toml")];
    for (line, variables, expected) in [
        ("x --cluster c", &[] as &[_], "127.0.0.1:7200 c"),
        ("x --cluster c --managers h:1,i:2 --managers j:3", &[], "h:1,i:2,j:3 c"),
        ("x", &set, "a:1,b:2 e.toml"),
        ("x --managers h:1", &set, "h:1 e.toml"),
        ("x --cluster c", &set, "a:1,b:2 c"),
        ("x --cluster c", &[("EMBERFS_MANAGERS", "")], "127.0.0.1:7200 c"),
    ] {
        assert_eq!(named(line, variables).unwrap(), expected, "{line}");
    }
    let failure = named("x", &[("EMBERFS_CLUSTER", "")]).unwrap_err();
    assert_eq!((failure.exit, failure.hint.is_some()), (Exit::Usage, true));
    let failure = named("x --cluster c", &[("EMBERFS_MANAGERS", "a")]).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.error.to_string().starts_with("EMBERFS_MANAGERS: found \"a\""));
}

#[test]
fn the_file_of_a_manager_names_it() {
    let folder = Folder::new("managers");
    let path = folder.path("m.toml");
    let shown = path.display();
    let cluster = folder.path("c.toml");
    let begin = "[cluster]\nfile = 'c.toml'\n";
    for (text, expected) in [
        (String::new(), "127.0.0.1:7200"),
        ("[mgmt]\nlisten = '10.0.0.1:7'".to_owned(), "10.0.0.1:7"),
        ("[mgmt]\nlisten = '0.0.0.0:7'\nadvertise = ['a:1', 'b:2']".to_owned(), "a:1,b:2"),
    ] {
        fs::write(&path, format!("{begin}{text}")).unwrap();
        let expected = format!("{expected} {}", cluster.display());
        assert_eq!(named(&format!("x --config {shown}"), &[]).unwrap(), expected);
    }
    fs::write(&path, "[mgmt]\n").unwrap();
    assert_eq!(named(&format!("x --config {shown}"), &[]).unwrap_err().exit, Exit::Usage);
}

#[test]
fn a_process_is_asked_at_one_kind_of_address() {
    let of = |text: &str| text.parse::<HostPort>().unwrap();
    let found = resolve(&[of("127.0.0.1:1"), of("[::1]:1"), of("127.0.0.1:1")]).unwrap();
    let expected: [SocketAddr; 2] = ["127.0.0.1:1", "[::1]:1"].map(|text| text.parse().unwrap());
    assert_eq!(found, expected);
}

#[test]
fn refusals_have_exit_codes_and_ways_out() {
    use RefusalCode as C;
    let told = |error, look| {
        let failure = failure(error, std::path::Path::new("c.toml"), look);
        (failure.exit, format!("{:#}", failure.error), failure.hint.unwrap_or_default())
    };
    for (code, exit, hint) in [
        (C::NotFound, Exit::Usage, ""),
        (C::InvalidArgument, Exit::Usage, ""),
        (C::Conflict, Exit::Problem, ""),
        (C::DataLoss, Exit::Problem, "--accept-data-loss"),
        (C::NotPrimary, Exit::Environment, "emberfs mgmt status"),
        (C::NotReady, Exit::Environment, "emberfs kv status"),
        (C::KvUnavailable, Exit::Environment, "emberfs kv"),
        (C::UnknownResult, Exit::Environment, "look with `emberfs x` before you repeat it"),
        (C::Unrecognised(999), Exit::Environment, "--version"),
        (C::Disabled, Exit::Problem, ""),
    ] {
        let error = ManagerError::Refused(Refusal::new(code, "node-3 says no"));
        let (found, text, told) = told(error, Some("emberfs x"));
        assert_eq!(found, exit, "{code:?}");
        assert!(text.ends_with("node-3 says no") && told.contains(hint), "{code:?}: {told}");
    }
    let address: SocketAddr = "10.0.0.1:7200".parse().unwrap();
    let lost = || ManagerError::Unknown { address, why: "reset".to_owned() };
    assert!(told(lost(), Some("emberfs x")).2.contains("it may have been done"));
    assert_eq!(told(lost(), None).2, "");
    let tried = vec![(address, "connection refused".to_owned())];
    let (exit, text, hint) = told(ManagerError::Unreachable { tried }, None);
    assert_eq!(exit, Exit::Environment);
    assert_eq!(text, "no manager answers\n  10.0.0.1:7200: connection refused");
    assert!(hint.contains("c.toml"), "{hint}");
}
