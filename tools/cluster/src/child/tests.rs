use std::os::unix::process::ExitStatusExt as _;

use super::testing::Scratch;
use super::*;

/// A shell that plays a process.
fn start(starter: &Starter, scratch: &Scratch, script: &str) -> Running {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let (ready, log) = (scratch.0.join("ready"), scratch.0.join("log"));
    Running::start(Name::Kv, starter, command, &ready, &log).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_process_says_where_it_listens_and_ends_in_order() {
    let (starter, scratch) = (Starter::new().unwrap(), Scratch::new("ready"));
    let script = "trap 'exit 0' TERM; echo '{\"address\":\"127.0.0.1:7\"}'; \
                  while :; do sleep 0.01; done";
    let mut running = start(&starter, &scratch, script);
    assert_eq!(running.until_ready(PATIENCE).unwrap(), ([127, 0, 0, 1], 7).into());
    assert_eq!(running.until_ended(Duration::ZERO), None);
    running.signal(Signal::Terminate);
    assert!(running.until_ended(PATIENCE).unwrap().success());
    running.signal(Signal::Kill); // nobody is hit
    assert!(running.kill().unwrap().success());
}

#[test]
fn who_does_not_come_to_serve_is_told_with_its_last_words() {
    let (starter, scratch) = (Starter::new().unwrap(), Scratch::new("late"));
    for (script, patience, expected) in [
        ("echo first >&2; echo why >&2; exit 3", PATIENCE, "kv ended (exit status: 3) before it"),
        ("echo '{}'; sleep 60", PATIENCE, "expected a document with an address, found \"{}\""),
        ("sleep 60", Duration::from_millis(20), "kv: waited 20ms until it says where it listens"),
    ] {
        let mut running = start(&starter, &scratch, script);
        let why = running.until_ready(patience).unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
        if script.contains("why") {
            assert!(why.ends_with("\n    first\n    why"), "{why}");
        }
    }
}

#[test]
fn a_dropped_process_is_gone() {
    let (starter, scratch) = (Starter::new().unwrap(), Scratch::new("gone"));
    let mut running = start(&starter, &scratch, "trap '' TERM; sleep 60 & wait");
    running.signal(Signal::Terminate);
    let pid = running.pid().to_string();
    drop(running);
    assert!(!Path::new("/proc").join(pid).exists());
    let mut killed = start(&starter, &scratch, "sleep 60");
    assert_eq!(killed.kill().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_long_log_is_put_aside() {
    let scratch = Scratch::new("log");
    let log = scratch.0.join("log");
    rotate(&log).unwrap();
    File::create(&log).unwrap().set_len(LOG_BYTES_MAX).unwrap();
    rotate(&log).unwrap();
    assert!(log.exists());
    File::options().write(true).open(&log).unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
    rotate(&log).unwrap();
    assert!(!log.exists() && scratch.0.join("log.old").exists());
}
