use crate::harness::{Bench, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::layernorm::{self, Normed, Weights};

on_devices! { forward residual_forward }

const SHAPES: [(usize, usize); 6] = [(1, 64), (3, 128), (5, 384), (4, 768), (7, 1024), (2, 1600)];

/// y, mean and rstd of the reference.
fn reference<R: cpu::Real>(x: &[R], gain: &[R], shift: Option<&[R]>) -> (Vec<R>, Vec<R>, Vec<R>) {
    let n = x.len() / gain.len();
    let (mut y, mut mean, mut rstd) = (vec![R::ZERO; x.len()], vec![R::ZERO; n], vec![R::ZERO; n]);
    cpu::layernorm::forward(&mut y, &mut mean, &mut rstd, x, gain, shift);
    (y, mean, rstd)
}

fn check(bench: &Bench, to: Normed, x: &[f32], gain: &[f32], shift: Option<&[f32]>) {
    let shift_wide = shift.map(wide);
    let truth = reference(&wide(x), &wide(gain), shift_wide.as_deref());
    let naive = reference(x, gain, shift);
    assert_close("y", &bench.read(to.y), &truth.0, &round(&naive.0));
    assert_close("mean", &bench.read(to.mean), &truth.1, &naive.1);
    assert_close("rstd", &bench.read(to.rstd), &truth.2, &naive.2);
}

fn output(bench: &Bench, n: usize, c: usize) -> Normed {
    Normed { y: bench.output(n * c), mean: bench.output(n), rstd: bench.output(n) }
}

fn forward(bench: &Bench) {
    for (n, c) in SHAPES {
        let (x, gain, shift) = (random(n * c, 1, 3.0), random(c, 2, 1.0), random(c, 3, 1.0));
        for shift in [None, Some(&shift[..])] {
            let weights = Weights { gain: bench.rounded(&gain), shift: shift.map(|shift| bench.rounded(shift)) };
            let to = output(bench, n, c);
            layernorm::forward(bench.device(), to, bench.rounded(&x), &weights).unwrap();
            check(bench, to, &x, &gain, shift);
        }
    }
}

fn residual_forward(bench: &Bench) {
    for (n, c) in SHAPES {
        let (x, branch, gain) = (random(n * c, 1, 3.0), random(n * c, 4, 2.0), random(c, 2, 1.0));
        let weights = Weights { gain: bench.rounded(&gain), shift: None };
        let (sum, to) = (bench.output(n * c), output(bench, n, c));
        layernorm::residual_forward(bench.device(), sum, to, bench.rounded(&x), bench.rounded(&branch), &weights)
            .unwrap();
        let added: Vec<f32> = x.iter().zip(&branch).map(|(a, b)| bf16::from_f32(a + b).to_f32()).collect();
        assert_eq!(bench.read(sum), round(&added));
        check(bench, to, &added, &gain, None);
    }
}
