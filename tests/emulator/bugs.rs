//! Kernels with a planted bug each (`kernels/emulator/tests/bugs.cu`), and their good twins.

use crate::floats;
use crate::launches::entries;
use crate::planted::Plain::{self, Misses, Notices};
use crate::planted::{Case, Room, cases};

cases! {
    missing_syncthreads            Notices "race" 1 x 256 |x, i| x[255 - i];
    missing_syncthreads_neighbour  Notices "race" 1 x 256 |x, i| x[i.saturating_sub(1)];
    missing_syncwarp               Misses "race" 1 x 256 |x, i| x[i ^ 1];
    buffer_reused_too_early        Notices "race" 1 x 256 |x, i| 10.0 * x[(i + 64) & 255];
    barrier_in_a_branch            Notices "deadlock" 1 x 256 |x, i| x[255 - i];
    two_kinds_of_barrier           Notices "divergent block" 1 x 256 |x, i| x[255 - i];
    shuffle_in_a_branch            Notices "deadlock" 1 x 256 |x, i| x[i ^ 1];
    shuffle_from_outside_the_mask  Notices "not in the mask" 1 x 256 |x, i| x[i];
    lane_outside_its_own_mask      Notices "not in its mask" 1 x 256 |x, i| x[i];
    half_a_warp_in_a_matrix_product Notices "all 32 lanes" 1 x 256 |x, i| x[i];
    global_read_past_the_end       Notices "global out of bounds" 1 x 256 |x, i| x[i];
    global_write_past_the_end      Notices "global out of bounds" 1 x 256 |x, i| x[i];
    global_read_before_the_start   Notices "global out of bounds" 1 x 256 |x, i| x[i];
    global_write_far_away          Misses "global out of bounds" 1 x 256 |x, i| x[i];
    null_pointer                   Notices "global out of bounds" 1 x 256 |x, i| x[i];
    shared_past_the_end            Notices "shared out of bounds" 1 x 256 |x, i| x[i];
    dynamic_shared_past_the_end    Notices "shared out of bounds" 1 x 256 |x, i| x[i];
    shared_far_past_the_end        Misses "shared out of bounds" 1 x 256 |x, i| x[i];
    shared_sum_never_zeroed        Notices "uninitialised read" 1 x 256 |x, i| x[i];
    shared_flag_never_set          Misses "uninitialised read" 1 x 256 |x, i| x[i];
    global_sum_never_zeroed        Notices "uninitialised read" 1 x 256 |x, i| x[i];
    atomic_counter_never_zeroed    Notices "uninitialised read" 1 x 256 |x, i| x[i];
    output_left_unwritten          Notices "" 1 x 256 |x, i| x[i];
    plain_sum_over_blocks          Misses "race" 4 x 256 |x, i| 4.0 * x[i];
    reading_what_another_block_writes Misses "race" 4 x 256 |x, i| x[i];
    integer_division_by_zero       Notices "division by zero" 1 x 256 |x, i| x[i];
    misaligned_vector              Misses "misaligned" 1 x 256 |x, i| x[i];
    misaligned_ldg                 Notices "aligned" 1 x 256 |x, i| x[i];
    misaligned_ldmatrix            Notices "aligned" 1 x 256 |x, i| x[i];
    copy_not_waited_for            Notices "under way" 1 x 256 |x, i| x[i];
    copy_not_committed             Notices "under way" 1 x 256 |x, i| x[i];
    copy_waited_for_one_group_too_few Notices "under way" 1 x 256 |x, i| x[i];
    copy_without_barrier           Notices "" 1 x 256 |x, i| x[i];
    copy_into_a_tile_in_use        Notices "race" 1 x 256 |x, i| (0..3).map(|k| x[(255 - i + k * 64) & 255]).sum();
}

fn room() -> Room {
    Room::new(1024, |out, from| vec![floats(out), floats(from)])
}

/// Under AddressSanitizer an access out of bounds ends the process: these run in their own (below).
#[test]
#[cfg_attr(emulator_asan, ignore = "a bug ends the process under AddressSanitizer")]
fn every_bug_is_noticed() {
    room().notices_every_bug(&cases());
}

#[test]
fn no_good_twin_is_blamed() {
    room().blames_no_good_twin(&cases());
}

/// The checker's message says which kernel, which line, and which threads.
#[test]
#[cfg_attr(not(feature = "emulator-check"), ignore = "needs the feature emulator-check")]
fn a_race_is_reported_with_both_sides() {
    let room = room();
    let cases = cases();
    let message = room.run(cases[0].bad, &cases[0], 0).unwrap();
    for part in ["kernel bad_missing_syncthreads", "race: 4-byte", "bugs.cu:", "by thread", "of the same block"] {
        assert!(message.contains(part), "\"{part}\" is missing in: {message}");
    }
}

const CHOSEN: &str = "LOGWRIGHT_PLANTED_BUG";

/// Runs the bug that the environment names: in a process of its own, for
/// `the_sanitizer_notices_what_leaves_its_buffer`.
#[test]
#[ignore = "runs a planted bug"]
fn run_the_chosen_bug() {
    let chosen = std::env::var(CHOSEN).expect("the name of a bug");
    let room = room();
    let cases = cases();
    let case = cases.iter().find(|case| case.bad.name() == chosen).expect("a bug of the table");
    assert_eq!(room.run(case.bad, case, 0), None);
}

#[test]
#[cfg_attr(not(emulator_asan), ignore = "needs a build with LOGWRIGHT_EMULATOR_ASAN=1")]
fn the_sanitizer_notices_what_leaves_its_buffer() {
    for name in [
        "global_read_past_the_end",
        "global_write_past_the_end",
        "global_read_before_the_start",
        "shared_past_the_end",
        "dynamic_shared_past_the_end",
        "shared_far_past_the_end",
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "bugs::run_the_chosen_bug", "--ignored"]).env(CHOSEN, format!("bad_{name}"));
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("AddressSanitizer"), "{name}: {text}");
        assert!(text.contains("bugs.cu"), "{name} without a line: {text}");
    }
}
