//! What the emulator computes: one kernel per feature (`kernels/emulator/tests/features.cu`), each counts failed
//! checks.

use crate::launches::{Allocation, Passed, entries, launch, pass};
use crate::{SEEDS, emulator, floats, ints};
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::runtime::{Entry, LaunchConfig};
use std::sync::Arc;

/// Runs a kernel whose first argument counts failed checks, and demands none.
pub fn check(device: &Arc<dyn Device>, entry: &Entry, run: LaunchConfig, more: Vec<Passed>) {
    let bad = Allocation::of(device, &[0i32]);
    let mut arguments = vec![ints(&bad)];
    arguments.extend(more);
    launch(entry, run, arguments).unwrap();
    assert_eq!(bad.read(), [0], "{}, seed {}: failed checks", entry.name(), run.seed);
}

fn line(blocks: u32, threads: u32, seed: u32) -> LaunchConfig {
    LaunchConfig { grid: [blocks, 1, 1], block: [threads, 1, 1], shared: 0, seed }
}

#[test]
fn warps_meet() {
    let device = emulator();
    let [shuffles, votes, partial] = entries!("feature_" shuffles "feature_" votes "feature_" partial_warps);
    for seed in SEEDS {
        check(&device, shuffles, line(3, 128, seed), vec![]);
        check(&device, votes, line(2, 64, seed), vec![]);
        for n in [1, 31, 32, 67, 70] {
            check(&device, partial, line(2, 70, seed), vec![pass(n, b'i')]);
        }
    }
}

#[test]
fn blocks_meet_and_atomics_add_up() {
    let device = emulator();
    let [blocks, atomics] = entries!("feature_" blocks "feature_" atomics);
    for seed in SEEDS {
        let (total, halves) = (Allocation::of(&device, &[0i32]), Allocation::of(&device, &[0f32]));
        let run = LaunchConfig { grid: [5, 2, 1], block: [8, 4, 3], shared: 96 * 4, seed };
        check(&device, blocks, run, vec![ints(&total), floats(&halves)]);
        assert_eq!(total.read(), [10 * 95 * 96 / 2]);
        assert_eq!(halves.read(), [10.0 * 96.0 * 0.5]);
        check(&device, atomics, line(3, 96, seed), vec![]);
    }
}

#[test]
fn matrices_copies_and_maths() {
    let device = emulator();
    let [matrices, copies, maths] = entries!("feature_" matrices "feature_" copies "feature_" maths);
    let input: Vec<f32> = (0..256).map(|i| i as f32 + 1.0).collect();
    let from = Allocation::of(&device, &input);
    for seed in SEEDS {
        check(&device, matrices, line(2, 32, seed), vec![]);
        check(&device, copies, line(2, 64, seed), vec![floats(&from)]);
        check(&device, maths, line(1, 1, seed), vec![]);
    }
}

/// Where attention's accesses fall (`kernels/emulator/tests/banks.cu`): no phase touches a bank of shared memory twice.
#[test]
fn attention_has_no_bank_conflicts() {
    let device = emulator();
    let [banks] = entries!("feature_" banks);
    let bad = Allocation::of(&device, &[0i32, 0]);
    launch(banks, line(1, 128, 0), vec![ints(&bad)]).unwrap();
    let [attention, unswizzled] = bad.read()[..] else { panic!("two counts") };
    assert_eq!(attention, 0, "lanes in conflict");
    assert_eq!(unswizzled, 32, "rows without the swizzle all begin in one bank");
}

/// One argument of each kind; the last stands for what is left out.
fn arguments() -> Vec<Passed> {
    vec![pass(1.5f32, b'f'), pass(2.5f64, b'd'), pass(-3i64, b'l'), pass(4u32, b'u'), pass(0u64, b'B')]
}

#[test]
fn arguments_are_compared_with_the_signature() {
    let device = emulator();
    let [entry] = entries!("feature_" arguments);
    check(&device, entry, line(1, 32, 0), arguments());
    let bad = Allocation::of(&device, &[0i32]);
    let refused = |change: fn(&mut Vec<Passed>)| {
        let mut list = vec![ints(&bad)];
        list.extend(arguments());
        change(&mut list);
        launch(entry, line(1, 32, 0), list).unwrap_err().to_string()
    };
    let fewer = refused(|list| list.truncate(5));
    assert!(fewer.contains("takes 6 arguments, 5 were passed"), "{fewer}");
    let narrow = refused(|list| list[3] = pass(-3i32, b'i'));
    assert!(narrow.contains("argument 3 has 8 bytes, 4 were passed"), "{narrow}");
    let other = refused(|list| list.swap(1, 4));
    assert!(other.contains("argument 1 is of kind 'f', 'u' was passed"), "{other}");
}

#[test]
fn impossible_launches_are_refused() {
    let device = emulator();
    let [entry] = entries!("feature_" nothing);
    let bad = Allocation::of(&device, &[0i32]);
    let refused = |run: LaunchConfig| launch(entry, run, vec![ints(&bad)]).unwrap_err().to_string();
    assert!(refused(line(1, 1025, 0)).contains("threads of a block: 1025, at most 1024"));
    assert!(refused(line(0, 32, 0)).contains("is 0"));
    assert!(refused(LaunchConfig { grid: [1, 65536, 1], ..line(1, 32, 0) }).contains("grid dimension"));
    assert!(refused(LaunchConfig { shared: 228 << 10, ..line(1, 32, 0) }).contains("dynamic shared bytes"));
}

/// Results of a launch do not depend on what other threads launch meanwhile.
#[test]
fn several_threads_launch_at_once() {
    let [entry] = entries!("feature_" sums);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let device = emulator();
                let out = Allocation::of(&device, &[0f32; 8 * 64]);
                for round in 0..20 {
                    let arguments = vec![floats(&out), pass(40, b'i')];
                    launch(entry, line(8, 64, thread + round), arguments).unwrap();
                    let sums = out.read();
                    assert!(sums.iter().enumerate().all(|(i, &x)| x == [15.5, 47.5][i % 64 / 32]), "{sums:?}");
                }
            });
        }
    });
}

/// Prints what launches and switches cost; no claim is checked.
#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn cost_of_launches() {
    let device = emulator();
    let [nothing, sums] = entries!("feature_" nothing "feature_" sums);
    let bad = Allocation::of(&device, &[0i32]);
    let out = Allocation::of(&device, &[0f32; 64 * 128]);
    for (blocks, threads) in [(1, 32), (1, 256), (16, 128)] {
        let start = std::time::Instant::now();
        (0..1000).for_each(|_| launch(nothing, line(blocks, threads, 0), vec![ints(&bad)]).unwrap());
        println!("{blocks} blocks of {threads}: {:.1} us a launch", start.elapsed().as_secs_f64() * 1e3);
    }
    for seed in [0, 5] {
        let start = std::time::Instant::now();
        launch(sums, line(64, 128, seed), vec![floats(&out), pass(100, b'i')]).unwrap();
        let collectives = 64.0 * 128.0 * 100.0 * 5.0;
        println!("seed {seed}: {:.1} ns a lane and shuffle", start.elapsed().as_secs_f64() * 1e9 / collectives);
    }
}
