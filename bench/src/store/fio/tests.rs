use super::*;

/// What fio 3.33 prints, cut to what is read and some of what is not.
const REPORT: &str = r#"note: some remark of fio
{
  "fio version" : "fio-3.33",
  "jobs" : [
    {
      "jobname" : "limit",
      "error" : 0,
      "read" : {
        "io_bytes" : 12288, "iops" : 6000.0, "runtime" : 500, "total_ios" : 3,
        "lat_ns" : { "min" : 10000, "N" : 3, "bins" : { "10000" : 2, "400000" : 1 } }
      },
      "write" : {
        "io_bytes" : 0, "iops" : 0.0, "runtime" : 0, "total_ios" : 0,
        "lat_ns" : { "min" : 0, "max" : 0, "N" : 0 }
      },
      "sync" : { "total_ios" : 0, "lat_ns" : { "N" : 0 } }
    }
  ]
}
"#;

const READ: Shape = Shape { work: Work::Read { len: 4096, verify: false }, depth: 64 };
const APPEND: Shape = Shape { work: Work::Append { chunk: 1 << 20 }, depth: 4 };
const RATES: Rates = Rates { process: 0.5, kernel: 0.25 };

fn request(shape: Shape) -> Request {
    Request {
        path: "/proc/1/fd/2".into(),
        bytes: 1 << 30,
        shape,
        writes_per_flush: 3,
        cpu: Some(1),
        division: Division::of(Duration::from_secs(6), Duration::from_secs(1)),
    }
}

#[test]
fn a_report_becomes_a_slice() {
    let outcome = outcome(REPORT, READ, &RATES).expect("well-formed");
    assert_eq!((outcome.slice.ops, outcome.slice.nanos), (3, 500_000_000));
    let used = CpuUsed { client_nanos: 250_000_000, server_nanos: 125_000_000 };
    assert_eq!(outcome.slice.cpu, used);
    assert_eq!(outcome.latency.len(), 3);
    let p50 = outcome.latency.value_at_quantile(0.5);
    assert!(p50.abs_diff(10_000) < 20, "{p50}");
}

#[test]
fn a_report_without_figures_is_an_error() {
    let wrong = |printed: &str, shape| outcome(printed, shape, &RATES).expect_err(printed);
    assert!(wrong("", READ).contains("no report"));
    assert!(wrong("{\n}", READ).contains("not understood"));
    assert!(wrong("{\n\"jobs\": []}", READ).contains("no job"));
    assert!(wrong(REPORT, APPEND).contains("completed nothing"), "nothing was written");
    let failed = REPORT.replace("\"error\" : 0", "\"error\" : 28");
    assert!(wrong(&failed, READ).contains("28"));
    let unreadable = REPORT.replace("\"400000\"", "\"soon\"");
    assert!(wrong(&unreadable, READ).contains("soon"));
}

#[test]
fn arguments_say_what_the_subject_does() {
    let read = arguments(&request(READ));
    for expected in
        ["--rw=randread", "--bs=4096", "--iodepth=64", "--direct=1", "--ioengine=io_uring"]
    {
        assert!(read.iter().any(|argument| argument == expected), "{expected} in {read:?}");
    }
    assert!(!read.iter().any(|argument| argument.starts_with("--fdatasync")), "{read:?}");
    let append = arguments(&request(APPEND));
    for expected in [
        "--rw=write",
        "--bs=1048576",
        "--fdatasync=3",
        "--cpus_allowed=1",
        "--ramp_time=125ms",
        "--runtime=875ms",
    ] {
        assert!(append.iter().any(|argument| argument == expected), "{expected} in {append:?}");
    }
}

#[test]
fn bytes_of_a_process_are_those_of_devices() {
    let io = "rchar: 5\nwchar: 6\nsyscr: 7\nsyscw: 8\nread_bytes: 4096\nwrite_bytes: 512\n\
              cancelled_write_bytes: 9\n";
    assert_eq!(device_bytes(io), 4608);
    assert_eq!(device_bytes(""), 0);
}

#[test]
fn a_missing_fio_names_its_package() {
    let reason = not_started(&io::Error::from(io::ErrorKind::NotFound));
    assert!(reason.contains("Debian package is `fio`"), "{reason}");
}
