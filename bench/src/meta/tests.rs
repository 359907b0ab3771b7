use std::collections::BTreeSet;

use super::*;
use crate::suite::{Keys, Storage};

#[test]
fn rows_have_names_of_their_own_and_the_goals_of_the_contract() {
    let names: Vec<String> = SERVICES
        .into_iter()
        .flat_map(|services| Shape::all(services).into_iter().map(move |one| (services, one)))
        .map(|(services, shape)| {
            let heading = shape.heading(services);
            let goal = match heading.name.split('/').nth(1) {
                Some("create") => Some(0.7),
                Some("stat") => Some(0.8),
                _ => None,
            };
            assert_eq!(heading.goal, goal, "{}", heading.name);
            heading.name
        })
        .collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    for name in ["meta/create/shared/s1/q64", "meta/rmdir/unique/s2/q64", "meta/stat/shared/s1/q1"]
    {
        assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
    }
}

/// Measures the rows that contain `filter` for a moment on few keys.
fn measure(filter: &str) -> Vec<Row> {
    let storage = Storage { dir: std::env::temp_dir(), memory_dir: "".into(), bytes: 0 };
    let keys = Keys { tasks: 1, stored: 10_000, reopened: 10_000 };
    let plan =
        Plan { seconds: Duration::from_millis(300), filter: filter.to_owned(), storage, keys };
    let mut rows = Vec::new();
    run(&plan, &mut |event| match event {
        Event::Measured(row) => rows.push(row),
        Event::Failed { name, reason } => panic!("{name}: {reason}"),
        Event::Preparing(_) | Event::Starting(_) => {}
    });
    rows
}

#[test]
fn operations_are_measured_beside_their_transactions_and_a_null_service() {
    let rows = measure("shared/s2/");
    assert_eq!(rows.len(), 9);
    for row in &rows {
        let told = row.meta.as_ref().unwrap();
        for figure in told.layers.iter().map(|layer| &layer.figure).chain([&row.subject]) {
            assert!(0.0 < figure.value && 0.0 < figure.client_cpu_us_per_op, "{row:?}");
            let latency = figure.latency_us.expect("every operation is timed");
            assert!(0.0 < latency.p50 && latency.p50 <= latency.p99, "{row:?}");
        }
        for thread in ["client", "meta-1", "meta-2", "kvd"] {
            assert!(told.threads_us_per_op.contains_key(thread), "{thread}: {told:?}");
        }
    }
    let of = |name: &str| {
        let name = format!("meta/{name}/shared/s2/q64");
        rows.iter().find(|row| row.name == name).unwrap().meta.as_ref().unwrap()
    };
    // As the table in meta/DESIGN.md has them: the directory, its slots, record and two fences;
    // entry, inode, sums, times, record.
    let create = of("create");
    assert_eq!((create.rounds, create.reads, create.mutations), (1.0, 5.0, 5.0), "{create:?}");
    assert!(0 < create.groups && create.groups <= create.commits, "{create:?}");
    let stat = of("stat");
    assert_eq!((stat.rounds, stat.reads, stat.mutations), (1.0, 1.0, 0.0), "{stat:?}");
}
