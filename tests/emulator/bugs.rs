//! Kernels with a planted bug each (`kernels/emulator/tests/bugs.cu`), and their good twins.

use crate::{Allocation, SEEDS, emulator, entries, floats, launch};
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::runtime::{Entry, LaunchConfig};
use std::sync::Arc;

const CHECK: bool = cfg!(feature = "emulator-check");

/// Who notices a bug. The checker notices all of them, whatever the order in which threads run.
#[derive(Clone, Copy, PartialEq)]
enum Plain {
    /// The plain emulator too, in one order or another: by an error or by a wrong result.
    Notices,
    /// The plain emulator may let it pass.
    Misses,
}
use Plain::{Misses, Notices};

struct Case {
    bad: &'static Entry,
    good: &'static Entry,
    plain: Plain,
    /// Of the checker's message; empty where the runtime itself objects in its own words.
    says: &'static str,
    blocks: u32,
    /// out[i] of the good twin.
    expected: fn(&[f32], usize) -> f32,
}

macro_rules! cases {
    ($($name:ident $plain:ident $says:literal $blocks:literal $expected:expr;)*) => {
        fn cases() -> Vec<Case> {
            let (bad, good) = (entries!($("bad_" $name)*), entries!($("good_" $name)*));
            type Rest = (Plain, &'static str, u32, fn(&[f32], usize) -> f32);
            let rest: Vec<Rest> = vec![$(($plain, $says, $blocks, $expected)),*];
            let case = |((bad, good), (plain, says, blocks, expected))| {
                Case { bad, good, plain, says, blocks, expected }
            };
            bad.into_iter().zip(good).zip(rest).map(case).collect()
        }
    };
}

cases! {
    missing_syncthreads            Notices "race" 1 |x, i| x[255 - i];
    missing_syncthreads_neighbour  Notices "race" 1 |x, i| x[i.saturating_sub(1)];
    missing_syncwarp               Misses "race" 1 |x, i| x[i ^ 1];
    buffer_reused_too_early        Notices "race" 1 |x, i| 10.0 * x[(i + 64) & 255];
    barrier_in_a_branch            Notices "deadlock" 1 |x, i| x[255 - i];
    two_kinds_of_barrier           Notices "divergent block" 1 |x, i| x[255 - i];
    shuffle_in_a_branch            Notices "deadlock" 1 |x, i| x[i ^ 1];
    shuffle_from_outside_the_mask  Notices "not in the mask" 1 |x, i| x[i];
    lane_outside_its_own_mask      Notices "not in its mask" 1 |x, i| x[i];
    half_a_warp_in_a_matrix_product Notices "all 32 lanes" 1 |x, i| x[i];
    global_read_past_the_end       Notices "global out of bounds" 1 |x, i| x[i];
    global_write_past_the_end      Notices "global out of bounds" 1 |x, i| x[i];
    global_read_before_the_start   Notices "global out of bounds" 1 |x, i| x[i];
    global_write_far_away          Misses "global out of bounds" 1 |x, i| x[i];
    null_pointer                   Notices "global out of bounds" 1 |x, i| x[i];
    shared_past_the_end            Notices "shared out of bounds" 1 |x, i| x[i];
    dynamic_shared_past_the_end    Notices "shared out of bounds" 1 |x, i| x[i];
    shared_far_past_the_end        Misses "shared out of bounds" 1 |x, i| x[i];
    shared_sum_never_zeroed        Notices "uninitialised read" 1 |x, i| x[i];
    shared_flag_never_set          Misses "uninitialised read" 1 |x, i| x[i];
    global_sum_never_zeroed        Notices "uninitialised read" 1 |x, i| x[i];
    atomic_counter_never_zeroed    Notices "uninitialised read" 1 |x, i| x[i];
    output_left_unwritten          Notices "" 1 |x, i| x[i];
    plain_sum_over_blocks          Misses "race" 4 |x, i| 4.0 * x[i];
    reading_what_another_block_writes Misses "race" 4 |x, i| x[i];
    integer_division_by_zero       Notices "division by zero" 1 |x, i| x[i];
    misaligned_vector              Misses "misaligned" 1 |x, i| x[i];
    misaligned_ldg                 Notices "aligned" 1 |x, i| x[i];
    misaligned_ldmatrix            Notices "aligned" 1 |x, i| x[i];
    copy_not_waited_for            Notices "under way" 1 |x, i| x[i];
    copy_not_committed             Notices "under way" 1 |x, i| x[i];
    copy_waited_for_one_group_too_few Notices "under way" 1 |x, i| x[i];
    copy_without_barrier           Notices "" 1 |x, i| x[i];
    copy_into_a_tile_in_use        Notices "race" 1 |x, i| (0..3).map(|k| x[(255 - i + k * 64) & 255]).sum();
}

struct Room {
    device: Arc<dyn Device>,
    input: Vec<f32>,
    from: Allocation<f32>,
}

impl Room {
    fn new() -> Self {
        let device = emulator();
        let input: Vec<f32> = (0..256).map(|i| 1.0 + i as f32 * 0.5).collect();
        let from = Allocation::of(&device, &input);
        Room { device, input, from }
    }

    /// What was noticed, if anything: an error, or a wrong result.
    fn run(&self, entry: &Entry, case: &Case, seed: u32) -> Option<String> {
        let out = match case.blocks {
            // Never written: NaN.
            1 => Allocation::new(&self.device, 256),
            _ => Allocation::of(&self.device, &[0f32; 256]),
        };
        let run = LaunchConfig { grid: [case.blocks, 1, 1], block: [256, 1, 1], shared: 1024, seed };
        if let Err(error) = launch(entry, run, vec![floats(&out), floats(&self.from)]) {
            return Some(error.to_string());
        }
        let found = out.read();
        let wrong = (0..256).filter(|&i| found[i] != (case.expected)(&self.input, i)).count();
        (wrong > 0).then(|| format!("{wrong} of 256 results are wrong"))
    }
}

/// Under AddressSanitizer an access out of bounds ends the process: these run in their own (below).
#[test]
#[cfg_attr(emulator_asan, ignore = "a bug ends the process under AddressSanitizer")]
fn every_bug_is_noticed() {
    let room = Room::new();
    for case in cases() {
        let noticed: Vec<Option<String>> = SEEDS.map(|seed| room.run(case.bad, &case, seed)).collect();
        let seeds = noticed.iter().flatten().count();
        let name = case.bad.name();
        if CHECK {
            assert_eq!(seeds, noticed.len(), "{name}: the checker must notice it in every order: {noticed:?}");
            let message = noticed[0].as_ref().unwrap();
            assert!(message.contains(case.says), "{name}: expected \"{}\" in: {message}", case.says);
        } else if case.plain == Notices {
            assert!(seeds > 0, "{name}: not noticed in any order");
        }
        println!("{name}: {seeds} of {} orders; {}", noticed.len(), noticed.iter().flatten().next().map_or("", |s| s));
    }
}

#[test]
fn no_good_twin_is_blamed() {
    let room = Room::new();
    for case in cases() {
        for seed in SEEDS {
            assert_eq!(room.run(case.good, &case, seed), None, "{}, seed {seed}", case.good.name());
        }
    }
}

/// The checker's message says which kernel, which line, and which threads.
#[test]
#[cfg_attr(not(feature = "emulator-check"), ignore = "needs the feature emulator-check")]
fn a_race_is_reported_with_both_sides() {
    let room = Room::new();
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
    let room = Room::new();
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
