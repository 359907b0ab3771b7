use std::cell::RefCell;
use std::rc::Rc;

use engine_types::{ChainId, InodeId};
use meta_metad::fsck::Finding;

use super::*;

fn report(repairs: &[Repair]) -> FsckReport {
    let findings = repairs.iter().zip(7..).map(|(repair, ino)| {
        let finding = Finding::Nameless { ino: InodeId::new(ino) };
        Found { finding, repair: repair.clone() }
    });
    FsckReport {
        findings: findings.collect(),
        inodes: 9,
        keys: 30,
        chunks: 4,
        ..Default::default()
    }
}

fn left() -> Repair {
    Repair::Left("it is taken".to_owned())
}

#[test]
fn exit_codes_are_those_of_fsck() {
    let unasked = vec![(ChainId::new(3).unwrap(), "silent".to_owned())];
    for (found, expected) in [
        (report(&[]), Exit::Ok),
        (report(&[Repair::Repaired, Repair::Repaired]), Exit::Problem),
        (report(&[Repair::Repaired, left()]), Exit::Left),
        (report(&[Repair::Reported]), Exit::Left),
        (FsckReport { busy: 3, ..report(&[]) }, Exit::Ok),
        (FsckReport { more: 1, ..report(&[]) }, Exit::Left),
        (FsckReport { unasked, ..report(&[]) }, Exit::Left),
        (FsckReport { unknown_sessions: 1, ..report(&[]) }, Exit::Left),
    ] {
        assert_eq!(end(&found), expected, "{found:?}");
    }
    assert_eq!([Exit::Ok, Exit::Problem, Exit::Left].map(|exit| exit as u8), [0, 1, 4]);
}

/// What is written, kept for the test.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn told(report: &FsckReport, json: bool) -> String {
    let sink = Sink::default();
    let mut out = Output::to(sink.clone(), json);
    tell(&mut out, report).unwrap();
    out.flush().unwrap();
    String::from_utf8(sink.0.take()).unwrap()
}

#[test]
fn findings_stand_in_columns() {
    let text = told(&report(&[Repair::Repaired, left()]), false);
    let expected = "\
KIND     STATE     WHAT
no-name  repaired  inode-7 has links and no name
no-name  left      inode-8 has links and no name: it is taken
9 files and directories, 30 keys, 4 chunks: 2 findings, 1 left
";
    assert_eq!(text, expected);
    let clean = told(&report(&[]), false);
    assert_eq!(clean, "9 files and directories, 30 keys, 4 chunks: 0 findings, 0 left\n");
}

#[test]
fn documents_end_with_a_summary() {
    let text = told(&report(&[left()]), true);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [finding, summary] = lines.as_slice() else { panic!("two documents: {text}") };
    assert_eq!(finding["kind"], "no-name");
    assert_eq!((&finding["state"], &finding["why"]), (&"left".into(), &"it is taken".into()));
    assert_eq!((&summary["left"], &summary["exit_code"]), (&1.into(), &4.into()));
}
