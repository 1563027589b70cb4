use crate::harness::{Bench, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::ops::layernorm::{self, Normed, Weights};

on_devices! { forward residual_forward backward backward_of_many_rows }

const SHAPES: [(usize, usize); 6] = [(1, 64), (3, 128), (5, 384), (4, 768), (7, 1024), (2, 1600)];

/// y, mean and rstd of the reference.
fn reference<R: cpu::Real>(x: &[R], weight: &[R], bias: Option<&[R]>) -> (Vec<R>, Vec<R>, Vec<R>) {
    let n = x.len() / weight.len();
    let (mut y, mut mean, mut rstd) = (vec![R::ZERO; x.len()], vec![R::ZERO; n], vec![R::ZERO; n]);
    cpu::layernorm::forward(&mut y, &mut mean, &mut rstd, x, weight, bias);
    (y, mean, rstd)
}

fn check(bench: &Bench, to: Normed, x: &[f32], weight: &[f32], bias: Option<&[f32]>) {
    let shift_wide = bias.map(wide);
    let truth = reference(&wide(x), &wide(weight), shift_wide.as_deref());
    let naive = reference(x, weight, bias);
    assert_close("y", &bench.read(to.y), &truth.0, &round(&naive.0));
    assert_close("mean", &bench.read(to.mean), &truth.1, &naive.1);
    assert_close("rstd", &bench.read(to.rstd), &truth.2, &naive.2);
}

fn output(bench: &Bench, n: usize, c: usize) -> Normed {
    Normed { y: bench.output(n * c), mean: bench.output(n), rstd: bench.output(n) }
}

fn forward(bench: &Bench) {
    for (n, c) in SHAPES {
        let (x, weight, bias) = (random(n * c, 1, 3.0), random(c, 2, 1.0), random(c, 3, 1.0));
        for bias in [None, Some(&bias[..])] {
            let weights = Weights { weight: bench.rounded(&weight), bias: bias.map(|bias| bench.rounded(bias)) };
            let to = output(bench, n, c);
            layernorm::forward(bench.device(), to, bench.rounded(&x), &weights).unwrap();
            check(bench, to, &x, &weight, bias);
        }
    }
}

fn residual_forward(bench: &Bench) {
    for (n, c) in SHAPES {
        let (x, sublayer_out, weight) = (random(n * c, 1, 3.0), random(n * c, 4, 2.0), random(c, 2, 1.0));
        let weights = Weights { weight: bench.rounded(&weight), bias: None };
        let (sum, to) = (bench.output(n * c), output(bench, n, c));
        layernorm::residual_forward(bench.device(), sum, to, bench.rounded(&x), bench.rounded(&sublayer_out), &weights)
            .unwrap();
        let added: Vec<f32> = x.iter().zip(&sublayer_out).map(|(a, b)| bf16::from_f32(a + b).to_f32()).collect();
        assert_eq!(bench.read(sum), round(&added));
        check(bench, to, &added, &weight, None);
    }
}

/// One backward pass on the device and in the reference.
struct Backward {
    n: usize,
    c: usize,
    with_shift: bool,
    dx_is_new: bool,
}

/// dx, dweight and dbias of the reference; the statistics are those that the kernel gets.
fn backward_reference<R: cpu::Real>(
    start: [&[R]; 3],
    dy: &[R],
    x: &[R],
    stats: [&[R]; 2],
    weight: &[R],
) -> [Vec<R>; 3] {
    let [mut dx, mut dweight, mut dbias] = start.map(<[R]>::to_vec);
    cpu::layernorm::backward(&mut dx, &mut dweight, Some(&mut dbias), dy, x, stats[0], stats[1], weight);
    [dx, dweight, dbias]
}

fn check_backward(bench: &Bench, case: Backward) {
    let Backward { n, c, with_shift, dx_is_new } = case;
    let (x, dy, weight) = (random(n * c, 1, 3.0), random(n * c, 2, 1.0), random(c, 3, 1.5));
    let (dweight, dbias) = (random(c, 5, 1.0), random(c, 6, 1.0));
    let dx = if dx_is_new { vec![0.0; n * c] } else { random(n * c, 4, 1.0) };
    let (_, mean, rstd) = reference(&x, &weight, None);

    let device_dx = if dx_is_new { bench.output(n * c) } else { bench.rounded(&dx) };
    let (device_dgain, device_dshift) = (bench.input(&dweight), bench.input(&dbias));
    layernorm::backward(
        bench.device(),
        device_dx,
        device_dgain,
        with_shift.then_some(device_dshift),
        bench.output(layernorm::partials(n, c)),
        bench.rounded(&dy),
        bench.rounded(&x),
        bench.input(&mean),
        bench.input(&rstd),
        bench.rounded(&weight),
        dx_is_new,
    )
    .unwrap();

    let naive = backward_reference([&dx, &dweight, &dbias], &dy, &x, [&mean, &rstd], &weight);
    let [dx, dweight, shift_start, dy, x, mean, rstd, weight] =
        [&dx, &dweight, &dbias, &dy, &x, &mean, &rstd, &weight].map(|values| wide(values));
    let truth = backward_reference([&dx, &dweight, &shift_start], &dy, &x, [&mean, &rstd], &weight);
    assert_close("dx", &bench.read(device_dx), &truth[0], &round(&naive[0]));
    assert_close("dweight", &bench.read(device_dgain), &truth[1], &naive[1]);
    match with_shift {
        true => assert_close("dbias", &bench.read(device_dshift), &truth[2], &naive[2]),
        false => assert_eq!(bench.read(device_dshift), dbias),
    }
}

fn backward(bench: &Bench) {
    for (n, c) in SHAPES {
        for with_shift in [false, true] {
            check_backward(bench, Backward { n, c, with_shift, dx_is_new: !with_shift });
        }
    }
    check_backward(bench, Backward { n: 2, c: 8192, with_shift: true, dx_is_new: false });
}

/// More rows than the blocks take at once.
fn backward_of_many_rows(bench: &Bench) {
    check_backward(bench, Backward { n: 4001, c: 64, with_shift: true, dx_is_new: false });
    assert_eq!(layernorm::partials(1 << 20, 768), layernorm::partials(1 << 12, 768));
}
