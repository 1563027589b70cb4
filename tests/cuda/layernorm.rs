use crate::harness::{Bench, Guarded, Hardware, assert_close, assert_close_on, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::ops::layernorm::{self, NormParams, Normed};

on_devices! { forward residual_forward backward backward_of_many_rows }

const SHAPES: [(usize, usize); 6] = [(1, 64), (3, 128), (5, 384), (4, 768), (7, 1024), (2, 1600)];

/// y, mean and rstd of the reference.
fn reference<R: cpu::Real>(x: &[R], weight: &[R], bias: Option<&[R]>) -> (Vec<R>, Vec<R>, Vec<R>) {
    let n = x.len() / weight.len();
    let (mut y, mut mean, mut rstd) = (vec![R::ZERO; x.len()], vec![R::ZERO; n], vec![R::ZERO; n]);
    cpu::layernorm::forward(&mut y, &mut mean, &mut rstd, x, weight, bias);
    (y, mean, rstd)
}

/// Output and statistics on a device.
struct Outputs {
    y: Guarded<bf16>,
    mean: Guarded<f32>,
    rstd: Guarded<f32>,
}

impl Outputs {
    fn new(bench: &Bench, n: usize, c: usize) -> Self {
        Outputs { y: bench.output(n * c), mean: bench.output(n), rstd: bench.output(n) }
    }

    fn views(&self) -> Normed<'_> {
        Normed { y: self.y.view_mut(), mean: self.mean.view_mut(), rstd: self.rstd.view_mut() }
    }
}

fn check(bench: &Bench, to: &Outputs, x: &[f32], weight: &[f32], bias: Option<&[f32]>) {
    let bias_wide = bias.map(wide);
    let truth = reference(&wide(x), &wide(weight), bias_wide.as_deref());
    let naive = reference(x, weight, bias);
    assert_close("y", &bench.read(to.y.view()), &truth.0, &round(&naive.0));
    assert_close("mean", &bench.read(to.mean.view()), &truth.1, &naive.1);
    assert_close_on(&[(Hardware::Rsqrt, &truth.2)], "rstd", &bench.read(to.rstd.view()), &truth.2, &naive.2);
}

fn forward(bench: &Bench) {
    for (n, c) in SHAPES {
        let (x, weight, bias) = (random(n * c, 1, 3.0), random(c, 2, 1.0), random(c, 3, 1.0));
        for bias in [None, Some(&bias[..])] {
            let (device_x, device_weight) = (bench.rounded(&x), bench.rounded(&weight));
            let device_bias = bias.map(|bias| bench.rounded(bias));
            let (weight_view, bias_view) = (device_weight.view(), device_bias.as_ref().map(Guarded::view));
            let (to, params) = (Outputs::new(bench, n, c), NormParams { weight: weight_view, bias: bias_view });
            layernorm::Forward { to: to.views(), x: device_x.view(), params }.run(bench.device()).unwrap();
            check(bench, &to, &x, &weight, bias);
        }
    }
}

fn residual_forward(bench: &Bench) {
    for (n, c) in SHAPES {
        let (x, sublayer_out, weight) = (random(n * c, 1, 3.0), random(n * c, 4, 2.0), random(c, 2, 1.0));
        let [device_x, device_out, device_weight] = [&x, &sublayer_out, &weight].map(|values| bench.rounded(values));
        let (sum, to) = (bench.output(n * c), Outputs::new(bench, n, c));
        layernorm::ResidualForward {
            sum: sum.view_mut(),
            to: to.views(),
            x: device_x.view(),
            sublayer_out: device_out.view(),
            params: NormParams { weight: device_weight.view(), bias: None },
        }
        .run(bench.device())
        .unwrap();
        let added: Vec<f32> = x.iter().zip(&sublayer_out).map(|(a, b)| bf16::from_f32(a + b).to_f32()).collect();
        assert_eq!(bench.read(sum.view()), round(&added));
        check(bench, &to, &added, &weight, None);
    }
}

/// One backward pass on the device and in the reference.
struct Backward {
    n: usize,
    c: usize,
    with_bias: bool,
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
    let Backward { n, c, with_bias, dx_is_new } = case;
    let (x, dy, weight) = (random(n * c, 1, 3.0), random(n * c, 2, 1.0), random(c, 3, 1.5));
    let (dweight, dbias) = (random(c, 5, 1.0), random(c, 6, 1.0));
    let dx = if dx_is_new { vec![0.0; n * c] } else { random(n * c, 4, 1.0) };
    let (_, mean, rstd) = reference(&x, &weight, None);

    let device_dx = if dx_is_new { bench.output(n * c) } else { bench.rounded(&dx) };
    let (device_dweight, device_dbias) = (bench.input(&dweight), bench.input(&dbias));
    layernorm::Backward {
        dx: device_dx.view_mut(),
        dweight: device_dweight.view_mut(),
        dbias: with_bias.then(|| device_dbias.view_mut()),
        partials: bench.output(layernorm::partials(n, c)).view_mut(),
        dy: bench.rounded(&dy).view(),
        x: bench.rounded(&x).view(),
        mean: bench.input(&mean).view(),
        rstd: bench.input(&rstd).view(),
        weight: bench.rounded(&weight).view(),
        dx_is_new,
    }
    .run(bench.device())
    .unwrap();

    let naive = backward_reference([&dx, &dweight, &dbias], &dy, &x, [&mean, &rstd], &weight);
    let [dx, dweight, dbias_start, dy, x, mean, rstd, weight] =
        [&dx, &dweight, &dbias, &dy, &x, &mean, &rstd, &weight].map(|values| wide(values));
    let truth = backward_reference([&dx, &dweight, &dbias_start], &dy, &x, [&mean, &rstd], &weight);
    assert_close("dx", &bench.read(device_dx.view()), &truth[0], &round(&naive[0]));
    assert_close("dweight", &bench.read(device_dweight.view()), &truth[1], &naive[1]);
    match with_bias {
        true => assert_close("dbias", &bench.read(device_dbias.view()), &truth[2], &naive[2]),
        false => assert_eq!(bench.read(device_dbias.view()), dbias),
    }
}

fn backward(bench: &Bench) {
    for (n, c) in SHAPES {
        for with_bias in [false, true] {
            check_backward(bench, Backward { n, c, with_bias, dx_is_new: !with_bias });
        }
    }
    check_backward(bench, Backward { n: 2, c: 8192, with_bias: true, dx_is_new: false });
}

/// More rows than the blocks take at once.
fn backward_of_many_rows(bench: &Bench) {
    check_backward(bench, Backward { n: 4001, c: 64, with_bias: true, dx_is_new: false });
    assert_eq!(layernorm::partials(1 << 20, 768), layernorm::partials(1 << 12, 768));
}
