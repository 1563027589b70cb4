//! What every device promises beside kernels and products: copies, and recordings.

use crate::harness::{Bench, on_devices, random};
use half::bf16;
use logwright::cuda::device::gemm::{Gemm, Operand, Output};
use logwright::cuda::ops::layernorm::{self, Normed, Weights};

on_devices! { copies_keep_their_order recordings_replay runs_are_the_same_bit_for_bit }

fn copies_keep_their_order(bench: &Bench) {
    // More than a staging ring holds, and no whole number of its slots.
    let many: Vec<u32> = (0..(9 << 20) + 3).collect();
    let span = bench.input(&many);
    assert!(bench.read(span) == many);
    span.slice(1..4).clear(bench.device()).unwrap();
    span.slice(3..5).upload(bench.device(), &[7, 8]).unwrap();
    assert_eq!(bench.read(span.first(6)), [0, 0, 0, 7, 8, 5]);
    assert!(bench.read(span.slice(5..5)).is_empty());
}

/// A clear, a product that accumulates, and a kernel.
fn recordings_replay(bench: &Bench) {
    let (n, c) = (8, 64);
    let (x, weight) = (random(n * c, 1, 1.0), vec![1.0; c]);
    let (sums, x_span) = (bench.output::<f32>(c * c), bench.rounded(&x));
    let to = Normed { y: bench.output(n * c), mean: bench.output(n), rstd: bench.output(n) };
    let weights = Weights { weight: bench.rounded(&weight), bias: None };
    let (a, b) = (Operand::transposed(x_span), Operand::plain(x_span));
    let gemm = Gemm { m: c, n: c, k: n, a, b, d: Output::Accumulated(sums) };
    let device = bench.device();
    assert!(device.supports(&gemm).unwrap());
    let queue = || {
        sums.clear(device).unwrap();
        (0..2).for_each(|_| device.gemm(&gemm).unwrap());
        layernorm::forward(device, to, x_span, &weights).unwrap();
    };
    queue();
    let direct = (bench.read(sums), bench.read(to.y));
    // Recording alone runs nothing; replays see what the buffers hold then.
    let other: Vec<bf16> = x.iter().rev().map(|&x| bf16::from_f32(x)).collect();
    x_span.upload(device, &other).unwrap();
    device.begin_recording().unwrap();
    queue();
    let graph = device.end_recording().unwrap();
    assert!(bench.read(sums) == direct.0 && bench.read(to.y) == direct.1);
    (0..3).for_each(|_| graph.replay().unwrap());
    let replayed = (bench.read(sums), bench.read(to.y));
    queue();
    assert!(replayed == (bench.read(sums), bench.read(to.y)));
    assert!(replayed.0 != direct.0);
}

fn runs_are_the_same_bit_for_bit(bench: &Bench) {
    let (m, n, k) = (192, 64, 515);
    let (a, b) = (bench.rounded(&random(m * k, 1, 1.0)), bench.rounded(&random(k * n, 2, 1.0)));
    let run = || {
        let sums = bench.input(&vec![0f32; m * n]);
        let (a, b) = (Operand::transposed(a), Operand::plain(b));
        let gemm = Gemm { m, n, k, a, b, d: Output::Accumulated(sums) };
        (0..5).for_each(|_| bench.device().gemm(&gemm).unwrap());
        bench.read(sums)
    };
    let first = run();
    (0..4).for_each(|_| assert!(run() == first));
}
