//! One suite for every backend of `Env`: "what ships is what is simulated" is checked here (V3).
//!
//! A case is an async function over any `Env`; the table at the end makes a test of each case on
//! each backend. Cases assume no more than the rules E30–E39, because simulation offers no more.
//! Each names the rule it checks.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a step that fails is a test that fails")]

mod cases;
mod ground;
#[cfg(any(feature = "glommio", feature = "monoio"))]
mod real;
#[cfg(feature = "sim")]
mod simulated;

/// Makes `mod BACKEND { #[test] fn CASE() { RUNNER(name, case) } … }` for one backend.
macro_rules! backend {
    ($backend:ident, $runner:path, $($module:ident { $($case:ident)* })*) => {
        mod $backend {
            $(mod $module {
                $(#[test]
                fn $case() {
                    let name = concat!(stringify!($backend), "-", stringify!($case));
                    $runner(name, |env, ground| crate::cases::$module::$case(env, ground));
                })*
            })*
        }
    };
}

/// The table of all cases, once per backend.
macro_rules! suite {
    ($($table:tt)*) => {
        #[cfg(feature = "glommio")]
        backend!(glommio, crate::real::on_glommio, $($table)*);
        #[cfg(feature = "monoio")]
        backend!(monoio_uring, crate::real::on_monoio_uring, $($table)*);
        #[cfg(feature = "monoio")]
        backend!(monoio_legacy, crate::real::on_monoio_legacy, $($table)*);
        #[cfg(feature = "sim")]
        backend!(sim, crate::simulated::on_sim, $($table)*);
        #[cfg(feature = "sim")]
        backend!(traced_sim, crate::simulated::on_traced_sim, $($table)*);
    };
}

suite! {
    clock {
        the_clock_never_goes_back_and_advances
        timers_never_fire_early
        a_past_time_fires_at_once
        many_timers_all_fire
        dropped_timers_disturb_nobody
        a_deadline_ends_the_wait_and_not_the_work
    }
    tasks {
        a_spawned_task_runs_without_being_awaited
        joins_give_results_in_any_order
        a_dropped_join_detaches
        ten_thousand_tasks_end
        a_task_that_wakes_itself_starves_nobody
        a_wake_from_another_thread_arrives
    }
    cores {
        a_core_runs_and_finishes
        a_panic_is_the_end_of_a_core
        a_panic_in_a_task_is_the_end_of_its_core
        an_unknown_cpu_is_refused
        a_core_ends_with_work_pending
        a_mailbox_is_bounded
        a_mailbox_without_receiver_is_closed
        a_mailbox_carries_between_cores
        a_stopped_core_drops_its_messages
        blocking_calls_answer
        blocking_calls_are_not_cancelled
        blocking_calls_are_limited
        random_numbers_follow_the_seed
        secrets_differ
    }
    memory {
        buffers_are_aligned
        a_pool_has_a_limit
        waiters_for_memory_are_served_in_order
        more_than_the_pool_is_refused_at_once
    }
    connect {
        both_ends_agree_on_addresses
        an_address_is_listened_on_once
        nobody_listens
        an_attempt_ends_at_its_deadline
        a_full_backlog_does_not_hold_an_attempt
        a_connection_that_nobody_waits_for_is_closed
        many_connections_at_once
        closing_ends_a_pending_accept
    }
    streams {
        echo_in_pieces_of_all_sizes
        bulk_in_both_directions_at_once
        many_odd_parts_arrive_in_order
        nothing_to_write_is_written
        a_read_touches_only_its_range
        closing_ends_a_pending_read
        closing_ends_a_write_that_waits_for_the_peer
        closing_twice_or_late_is_harmless
        dropping_both_halves_ends_the_connection
        dropping_one_half_ends_nothing
        a_dropped_read_poisons_its_half
        a_dropped_read_writes_into_no_reused_buffer
        a_dropped_write_poisons_its_half
        unread_bytes_do_not_hang_a_close
    }
    files {
        what_cannot_be_opened_is_an_error
        a_lock_is_taken_once
        geometry_tells_size_and_alignment
        what_was_written_is_read_back
        bytes_at_any_address_are_written
        misaligned_requests_are_refused
        reads_end_at_the_end_of_the_file
        a_tail_inside_a_block_is_read
        a_file_opened_for_reading_is_not_written
        overlapping_operations_all_complete
        a_dropped_write_lands_with_its_own_bytes
        a_dropped_read_returns_its_memory
        reads_wait_for_memory
        preallocated_space_reads_as_zeros_and_takes_writes
        discarded_space_reads_as_zeros
        the_length_can_be_changed
    }
    devices {
        a_block_device_has_its_own_size_and_alignment
    }
    process {
        a_foreign_descriptor_is_watched
        a_regular_file_is_not_watched
        a_signal_arrives
    }
}
