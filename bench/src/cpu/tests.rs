use core::hint::black_box;

use super::*;

/// Uses CPU time until its clock says so.
fn work(nanos: u64) {
    let start = CpuReading::now();
    while CpuReading::now().since(start).client_nanos < nanos {
        black_box((0..1000).sum::<u64>());
    }
}

#[test]
fn tasks_of_a_process_are_counted() {
    let pid = std::process::id();
    let before = TaskTimes::of_process(pid).expect("/proc");
    work(30_000_000);
    let used = TaskTimes::of_process(pid).expect("/proc").since(&before);
    // The scheduler adds the time of a running task up at every tick only, at most 10 ms.
    assert!(20_000_000 <= used, "{used} ns of 30 ms");
}

#[test]
fn kernel_threads_are_told_from_processes() {
    let kernel = TaskTimes::of_kernel(&mut KernelThreads::default()).expect("/proc");
    assert!(!kernel.used.contains_key(&std::process::id()));
    let user = "1 (a) b) (c) S 0 1 1 0 -1 4194560 100 0";
    assert_eq!(flags(user), Some(4_194_560));
    assert_eq!(flags("2 (kthreadd) S 0 0 0 0 -1 2129984 0"), Some(2_129_984));
    assert_ne!(2_129_984 & KERNEL_THREAD, 0);
    assert_eq!(4_194_560 & KERNEL_THREAD, 0);
    assert_eq!(flags("no brackets"), None);
}

#[test]
fn a_task_that_is_new_counts_from_zero_and_one_that_ended_not_at_all() {
    let of = |at, used: &[(u32, u64)]| TaskTimes { at, used: used.iter().copied().collect() };
    let (earlier, later) = (of(1000, &[(1, 20), (2, 100)]), of(1074, &[(1, 50), (3, 7)]));
    assert_eq!(later.since(&earlier), 37);
    assert_eq!(later.rate_since(&earlier), 0.5);
}
