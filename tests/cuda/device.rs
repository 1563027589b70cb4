//! What every device promises beside kernels and products: copies, and recordings.

use crate::harness::{Bench, on_devices, random};
use half::bf16;
use logwright::cuda::device::gemm::{Gemm, Operand, Output};
use logwright::cuda::ops::layernorm::{self, NormParams, Normed};

on_devices! { copies_keep_their_order recordings_replay runs_are_the_same_bit_for_bit }

fn copies_keep_their_order(bench: &Bench) {
    // More than a staging ring holds, and no whole number of its slots.
    let many: Vec<u32> = (0..(9 << 20) + 3).collect();
    let buffer = bench.input(&many);
    assert!(bench.read(buffer.view()) == many);
    buffer.view_mut().slice(1..4).clear().unwrap();
    buffer.view_mut().slice(3..5).upload(&[7, 8]).unwrap();
    assert_eq!(bench.read(buffer.view().first(6)), [0, 0, 0, 7, 8, 5]);
    assert!(bench.read(buffer.view().slice(5..5)).is_empty());
}

/// A clear, a product that accumulates, and a kernel.
fn recordings_replay(bench: &Bench) {
    let (n, c) = (8, 64);
    let (x, weight) = (random(n * c, 1, 1.0), vec![1.0; c]);
    let (sums, device_x, weight) = (bench.output::<f32>(c * c), bench.rounded(&x), bench.rounded(&weight));
    let (y, mean, rstd) = (bench.output(n * c), bench.output(n), bench.output(n));
    let to = Normed { y: y.view_mut(), mean: mean.view_mut(), rstd: rstd.view_mut() };
    let params = NormParams { weight: weight.view(), bias: None };
    let (a, b) = (Operand::transposed(device_x.view()), Operand::plain(device_x.view()));
    let gemm = Gemm { m: c, n: c, k: n, a, b, d: Output::Accumulated(sums.view_mut()) };
    let device = bench.device();
    assert!(device.supports(&gemm).unwrap());
    let queue = || {
        sums.view_mut().clear().unwrap();
        (0..2).for_each(|_| device.gemm(&gemm).unwrap());
        layernorm::Forward { to, x: device_x.view(), params }.run(device).unwrap();
    };
    queue();
    let read = || (bench.read(sums.view()), bench.read(y.view()));
    let direct = read();
    // Recording alone runs nothing; replays see what the buffers hold then.
    let other: Vec<bf16> = x.iter().rev().map(|&x| bf16::from_f32(x)).collect();
    device_x.view_mut().upload(&other).unwrap();
    device.begin_recording().unwrap();
    queue();
    let graph = device.end_recording().unwrap();
    assert!(read() == direct);
    // SAFETY: the buffers live until the end of the test.
    (0..3).for_each(|_| unsafe { graph.replay().unwrap() });
    let replayed = read();
    queue();
    assert!(replayed == read());
    assert!(replayed.0 != direct.0);
}

fn runs_are_the_same_bit_for_bit(bench: &Bench) {
    let (m, n, k) = (192, 64, 515);
    let (a, b) = (bench.rounded(&random(m * k, 1, 1.0)), bench.rounded(&random(k * n, 2, 1.0)));
    let run = || {
        let sums = bench.input(&vec![0f32; m * n]);
        let (a, b) = (Operand::transposed(a.view()), Operand::plain(b.view()));
        let gemm = Gemm { m, n, k, a, b, d: Output::Accumulated(sums.view_mut()) };
        (0..5).for_each(|_| bench.device().gemm(&gemm).unwrap());
        bench.read(sums.view())
    };
    let first = run();
    (0..4).for_each(|_| assert!(run() == first));
}
