//! What the emulator computes of Hopper's instructions: one kernel per feature
//! (`kernels/emulator/tests/features_hopper.cu`), each counts failed checks.

use crate::features::check;
use crate::launches::{Allocation, encode, entries, pass, tensor_map};
use crate::{SEEDS, emulator, floats};
use half::bf16;
use logwright::cuda::emulator::runtime::LaunchConfig;

fn block(threads: u32, shared: usize, seed: u32) -> LaunchConfig {
    LaunchConfig { grid: [1, 1, 1], block: [threads, 1, 1], shared, seed }
}

#[test]
fn warpgroups_multiply() {
    let device = emulator();
    let [products, left_side] = entries!("feature_" products "feature_" left_side_in_registers);
    for seed in SEEDS {
        check(&device, products, block(128, 96 << 10, seed), vec![]);
        check(&device, left_side, block(128, 8 << 10, seed), vec![]);
    }
}

/// As `value_at` in `kernels/emulator/tests/hopper.cuh`.
fn value_at(row: usize, column: usize) -> bf16 {
    bf16::from_f32(((row * 7 + column * 5 + row * column) % 9) as f32 - 4.0)
}

#[test]
fn boxes_are_cut_at_the_edge_and_lines_copied() {
    let device = emulator();
    let [boxes, stores, lines] = entries!("feature_" boxes "feature_" clipped_stores "feature_" lines);
    let values: Vec<bf16> = (0..2 * 5 * 192).map(|i| value_at(i / 192, i % 192)).collect();
    let tensor = Allocation::of(&device, &values);
    let input: Vec<f32> = (0..256).map(|i| i as f32).collect();
    let line = Allocation::of(&device, &input);
    for seed in SEEDS {
        let map = |of| tensor_map(of, &[64, 3, 5, 2], &[64, 1, 8, 1]);
        check(&device, boxes, block(32, 8 << 10, seed), vec![map(&tensor)]);
        let stored = Allocation::of(&device, &vec![bf16::NEG_ONE; values.len()]);
        check(&device, stores, block(32, 8 << 10, seed), vec![map(&stored), pass(stored.address, b'B')]);
        let copied = Allocation::new(&device, 256);
        check(&device, lines, block(64, 0, seed), vec![floats(&copied), floats(&line)]);
        assert!(copied.read().iter().zip(&input).all(|(to, from)| *to == from + 1.0));
    }
}

#[test]
fn warps_take_turns_and_hand_on_stages() {
    let device = emulator();
    let [turns, stages, one_thread] = entries!("feature_" turns "feature_" stages "feature_" release_by_one_thread);
    let rows: Vec<bf16> = (0..8 * 64).map(|i| value_at(i / 64, i % 64)).collect();
    let rows = Allocation::of(&device, &rows);
    let line = Allocation::of(&device, &[1.5f32; 256]);
    for seed in SEEDS {
        check(&device, turns, block(384, 0, seed), vec![]);
        check(&device, stages, block(64, 0, seed), vec![floats(&line)]);
        check(&device, one_thread, block(160, 4096, seed), vec![tensor_map(&rows, &[64, 8], &[64, 8])]);
    }
}

/// What the driver refuses is refused with the rule.
#[test]
fn impossible_tensor_maps_are_refused() {
    let refused = |data, sizes: &[u64], tile: &[u32]| encode(data, 2, sizes, tile).err().unwrap().to_string();
    assert!(refused(8, &[64, 8], &[64, 8]).contains("address 8: it must be a multiple of 16"));
    assert!(refused(0, &[60, 8], &[32, 8]).contains("stride 120: it must be a multiple of 16"));
    assert!(refused(0, &[64, 8], &[64, 512]).contains("box of size 512: 1 to 256"));
    assert!(refused(0, &[64, 8], &[4, 8]).contains("bytes of a row of the box 8: they must be a multiple of 16"));
    assert!(refused(0, &[128, 8], &[128, 8]).contains("bytes of a row of the box 256: they must not exceed"));
    assert!(refused(0, &[64; 6], &[64; 5]).contains("rank 6: 1 to 5"));
}
