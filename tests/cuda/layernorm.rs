use crate::harness::{Bench, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::ops::layernorm::{self, Normed, Weights};

on_devices! { forward residual_forward backward backward_of_many_rows }

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

/// One backward pass on the device and in the reference.
struct Backward {
    n: usize,
    c: usize,
    with_shift: bool,
    dx_is_new: bool,
}

/// dx, dgain and dshift of the reference; the statistics are those that the kernel gets.
fn backward_reference<R: cpu::Real>(start: [&[R]; 3], dy: &[R], x: &[R], stats: [&[R]; 2], gain: &[R]) -> [Vec<R>; 3] {
    let [mut dx, mut dgain, mut dshift] = start.map(<[R]>::to_vec);
    cpu::layernorm::backward(&mut dx, &mut dgain, Some(&mut dshift), dy, x, stats[0], stats[1], gain);
    [dx, dgain, dshift]
}

fn check_backward(bench: &Bench, case: Backward) {
    let Backward { n, c, with_shift, dx_is_new } = case;
    let (x, dy, gain) = (random(n * c, 1, 3.0), random(n * c, 2, 1.0), random(c, 3, 1.5));
    let (dgain, dshift) = (random(c, 5, 1.0), random(c, 6, 1.0));
    let dx = if dx_is_new { vec![0.0; n * c] } else { random(n * c, 4, 1.0) };
    let (_, mean, rstd) = reference(&x, &gain, None);

    let device_dx = if dx_is_new { bench.output(n * c) } else { bench.rounded(&dx) };
    let (device_dgain, device_dshift) = (bench.input(&dgain), bench.input(&dshift));
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
        bench.rounded(&gain),
        dx_is_new,
    )
    .unwrap();

    let naive = backward_reference([&dx, &dgain, &dshift], &dy, &x, [&mean, &rstd], &gain);
    let [dx, dgain, shift_start, dy, x, mean, rstd, gain] =
        [&dx, &dgain, &dshift, &dy, &x, &mean, &rstd, &gain].map(|values| wide(values));
    let truth = backward_reference([&dx, &dgain, &shift_start], &dy, &x, [&mean, &rstd], &gain);
    assert_close("dx", &bench.read(device_dx), &truth[0], &round(&naive[0]));
    assert_close("dgain", &bench.read(device_dgain), &truth[1], &naive[1]);
    match with_shift {
        true => assert_close("dshift", &bench.read(device_dshift), &truth[2], &naive[2]),
        false => assert_eq!(bench.read(device_dshift), dshift),
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
