//! Attention for Hopper (`kernels/attention_hopper*.cu`) against the CPU: on the emulator in several orders, or on a Hopper
//! card, where it runs twice. All runs give the same bits.

use crate::attention::{
    coarse, compare_backward, compare_forward, inputs, naive_forward, narrow, run_backward, run_forward,
};
use crate::harness::Bench;
use half::bf16;
use half::slice::HalfFloatSliceExt;
use logwright::cuda::model::attention::AttentionKernels;
use logwright::cuda::ops::attention::AttentionShape;
use logwright::cuda::ops::attention_hopper::HEAD_SIZES;

/// B, T, NH: less than a box, boxes and tiles with a row less or more, several pieces of work a block.
const SHAPES: [(usize, usize, usize); 8] =
    [(2, 1, 3), (1, 63, 2), (1, 64, 1), (1, 65, 2), (2, 127, 1), (1, 128, 2), (2, 129, 1), (1, 257, 2)];

/// Copies and products as late as possible, as soon as possible, and at random.
const SEEDS: [u32; 3] = [0, 1, 5];

/// Where a test runs.
type Benches = Vec<Bench>;

fn emulators(seeds: &[u32]) -> Benches {
    seeds.iter().map(|&seed| Bench::hopper(seed)).collect()
}

fn shape((batch, seq_len, heads): (usize, usize, usize), head_size: usize) -> AttentionShape {
    AttentionShape { batch, seq_len, heads, head_size }
}

/// What all runs give, to the last bit.
fn of_all<T: PartialEq>(benches: &Benches, shape: AttentionShape, run: impl Fn(&Bench) -> T) -> T {
    let mut results = benches.iter().map(run);
    let first = results.next().unwrap();
    assert!(results.all(|other| other == first), "{shape:?}: runs differ");
    first
}

fn forward(benches: &Benches, qkv: &[f32], shape: AttentionShape) -> (Vec<bf16>, Vec<f32>) {
    let run = |bench: &Bench| {
        let (out, lse) = run_forward(AttentionKernels::Hopper, bench, qkv, shape);
        // Bits, since a NaN equals nothing.
        (out.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), lse.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    let (out, lse) = of_all(benches, shape, run);
    (out.into_iter().map(bf16::from_bits).collect(), lse.into_iter().map(f32::from_bits).collect())
}

fn check_forward(benches: &Benches, qkv: &[f32], shape: AttentionShape) {
    let (out, lse) = forward(benches, qkv, shape);
    compare_forward(&out, &lse, qkv, shape);
}

fn check(benches: &Benches, qkv: &[f32], dout: &[f32], shape: AttentionShape) {
    check_forward(benches, qkv, shape);
    let (out, lse) = naive_forward(qkv, shape);
    let out = out.to_f32_vec();
    let run = |bench: &Bench| run_backward(AttentionKernels::Hopper, bench, [qkv, dout], (&out, &lse), shape);
    let dqkv = of_all(benches, shape, run);
    compare_backward(&dqkv, dout, (&out, &lse), qkv, shape);
}

/// Nearly uniform attention, and scores of many tens.
fn lengths(benches: &Benches, head_size: usize) {
    for (of, scale) in SHAPES.into_iter().zip([1.0, 12.0].into_iter().cycle()) {
        let shape = shape(of, head_size);
        let (mut qkv, mut dout) = inputs(shape, scale);
        if shape.seq_len == 1 {
            (qkv, dout) = (coarse(&qkv), coarse(&dout));
        }
        check(benches, &qkv, &dout, shape);
    }
}

/// Queries of about .5, and keys that `of_key` makes of their position and of noise.
fn with_keys(shape: AttentionShape, of_key: impl Fn(usize, f32) -> f32) -> (Vec<f32>, Vec<f32>) {
    let (mut qkv, dout) = inputs(shape, 1.0);
    for (t, row) in qkv.chunks_exact_mut(3 * shape.head_size).enumerate() {
        row[..shape.head_size].iter_mut().for_each(|q| *q = narrow(0.5 + 0.25 * *q));
        row[shape.head_size..2 * shape.head_size].iter_mut().for_each(|k| *k = narrow(of_key(t, *k)));
    }
    (qkv, dout)
}

/// Keys whose scores try the hope of the softmax that none exceeds the reference, which begins with the last tile of keys:
/// rising and falling with the position, by steps and by little, one key above all others, all keys equal.
fn scores_that_disappoint(benches: &Benches) {
    type OfKey = fn(usize, f32) -> f32;
    let kinds: [OfKey; 6] = [
        |t, k| (t / 16) as f32 + k,
        |t, k| (16 - t / 16) as f32 + k,
        |t, k| t as f32 / 128.0 + k / 8.0,
        |t, k| (257 - t) as f32 / 128.0 + k / 8.0,
        |t, k| if t == 70 { 300.0 } else { k },
        |_, _| 0.75,
    ];
    for (head_size, of_key) in HEAD_SIZES.into_iter().flat_map(|size| kinds.map(|kind| (size, kind))) {
        let shape = shape((1, 257, 1), head_size);
        let (qkv, dout) = with_keys(shape, of_key);
        check(benches, &qkv, &dout, shape);
    }
}

/// Keys of the largest finite bf16, of both signs, whose scores are finite, and large.
fn largest_keys(benches: &Benches) {
    for head_size in HEAD_SIZES {
        let shape = shape((1, 257, 1), head_size);
        let (mut qkv, _) = with_keys(shape, |_, k| bf16::MAX.to_f32().copysign(k));
        for row in qkv.chunks_exact_mut(3 * head_size) {
            row[..head_size].iter_mut().for_each(|q| *q = narrow(*q * 2f32.powi(-124)));
        }
        check_forward(benches, &qkv, shape);
    }
}

/// One key's scores exceed f32: the rows that see it have no output, whatever the hope was; others are as they were.
fn scores_beyond_f32(benches: &Benches) {
    const AT: usize = 70;
    for head_size in HEAD_SIZES {
        let shape = shape((1, 257, 1), head_size);
        let (qkv, _) = with_keys(shape, |t, k| if t == AT { bf16::MAX.to_f32() } else { k });
        let (usual, _) = with_keys(shape, |_, k| k);
        let [(out, lse), (usual_out, usual_lse)] = [qkv, usual].map(|qkv| forward(benches, &qkv, shape));
        assert!(out[..AT * head_size] == usual_out[..AT * head_size] && lse[..AT] == usual_lse[..AT]);
        assert!(out[AT * head_size..].iter().all(|x| x.is_nan()) && lse[AT..].iter().all(|x| !x.is_finite()));
    }
}

mod emulator {
    use super::*;

    #[test]
    fn lengths_of_head_size_64() {
        lengths(&emulators(&SEEDS), 64);
    }

    #[test]
    fn lengths_of_head_size_128() {
        lengths(&emulators(&SEEDS), 128);
    }

    #[test]
    fn scores_that_disappoint() {
        super::scores_that_disappoint(&emulators(&SEEDS));
    }

    #[test]
    fn largest_keys() {
        super::largest_keys(&emulators(&SEEDS));
    }

    #[test]
    fn scores_beyond_f32() {
        super::scores_beyond_f32(&emulators(&SEEDS));
    }

    /// Many tiles, so that every ring goes round several times, in eight orders: `.ci/long`.
    #[test]
    #[ignore = "takes minutes"]
    fn a_thousand_rows() {
        super::a_thousand_rows(&emulators(&[0, 1, 2, 3, 4, 5, 6, 7]));
    }
}

fn a_thousand_rows(benches: &Benches) {
    for head_size in HEAD_SIZES {
        let shape = shape((2, 1000, 2), head_size);
        let (qkv, dout) = inputs(shape, 4.0);
        check(benches, &qkv, &dout, shape);
    }
}

mod gpu {
    use super::*;

    fn twice() -> Benches {
        vec![Bench::gpu(), Bench::gpu()]
    }

    #[test]
    #[ignore = "needs a Hopper GPU"]
    fn all_lengths() {
        HEAD_SIZES.into_iter().for_each(|head_size| lengths(&twice(), head_size));
    }

    /// For compute-sanitizer, which is slow: see `scripts/gpu-check`.
    #[test]
    #[ignore = "needs a Hopper GPU"]
    fn small_shapes() {
        for (of, head_size) in [((1, 65, 2), 64), ((2, 129, 1), 64), ((1, 65, 2), 128), ((2, 129, 1), 128)] {
            let shape = shape(of, head_size);
            let (qkv, dout) = inputs(shape, 4.0);
            check(&twice(), &qkv, &dout, shape);
        }
    }

    #[test]
    #[ignore = "needs a Hopper GPU"]
    fn adversarial_scores() {
        scores_that_disappoint(&twice());
        largest_keys(&twice());
        scores_beyond_f32(&twice());
    }

    #[test]
    #[ignore = "needs a Hopper GPU"]
    fn many_rows() {
        a_thousand_rows(&twice());
    }
}
