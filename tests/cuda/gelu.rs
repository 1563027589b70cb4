use crate::harness::{Bench, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::ops::gelu;

on_devices! { forward backward the_ends_of_the_range }

const LENGTHS: [usize; 4] = [8, 3 * 64, 5 * 384, 9 * 1600];

/// Sharper than the rule, which lets a wrong constant hide in bf16's rounding: before it is rounded, a value may err
/// twice as much as the largest error of the f32 reference; where that crosses a tie, the rounded value is off by
/// twice that.
#[track_caller]
fn assert_rounded_once(what: &str, found: &[bf16], truth: &[f64], naive: &[f32]) {
    let before = naive.iter().zip(truth).map(|(&a, b)| (a as f64 - b).abs()).fold(0.0, f64::max);
    for (found, &truth) in found.iter().zip(truth) {
        let best = (bf16::from_f64(truth).to_f64() - truth).abs();
        let error = (found.to_f64() - truth).abs();
        assert!(error <= best + 4.0 * before, "{what}: {found} for {truth}: error {error:e}, at best {best:e}");
    }
}

fn forward(bench: &Bench) {
    for (len, scale) in LENGTHS.into_iter().flat_map(|len| [(len, 4.0), (len, 12.0)]) {
        let x = random(len, 1, scale);
        let (y, device_x) = (bench.output(len), bench.rounded(&x));
        gelu::Forward { y: y.view_mut(), x: device_x.view() }.run(bench.device()).unwrap();
        let (mut truth, mut naive) = (vec![0f64; len], vec![0f32; len]);
        cpu::gelu::forward(&mut truth, &wide(&x));
        cpu::gelu::forward(&mut naive, &x);
        let y = bench.read(y.view());
        assert_close("y", &y, &truth, &round(&naive));
        assert_rounded_once("y", &y, &truth, &naive);
    }
}

fn backward(bench: &Bench) {
    for (len, scale) in LENGTHS.into_iter().flat_map(|len| [(len, 4.0), (len, 12.0)]) {
        let (x, dy) = (random(len, 1, scale), random(len, 2, 1.0));
        let (d, device_x) = (bench.rounded(&dy), bench.rounded(&x));
        gelu::Backward { d: d.view_mut(), x: device_x.view() }.run(bench.device()).unwrap();
        let (mut truth, mut naive) = (wide(&dy), dy);
        cpu::gelu::backward(&mut truth, &wide(&x));
        cpu::gelu::backward(&mut naive, &x);
        let dx = bench.read(d.view());
        assert_close("dx", &dx, &truth, &round(&naive));
        assert_rounded_once("dx", &dx, &truth, &naive);
    }
}

/// Far from zero the gate is 0 or 1, to the bit; at zero the slope is a half.
fn the_ends_of_the_range(bench: &Bench) {
    let x = [0.0, 256.0, -256.0, 1e4, -1e4, 1e9, -1e9, f32::INFINITY].map(bf16::from_f32);
    let (y, device_x) = (bench.output::<bf16>(8), bench.input(&x));
    gelu::Forward { y: y.view_mut(), x: device_x.view() }.run(bench.device()).unwrap();
    assert_eq!(bench.read(y.view()), x.map(|x| if x > bf16::ZERO { x } else { bf16::ZERO }));
    let d = bench.input(&[bf16::ONE; 8]);
    gelu::Backward { d: d.view_mut(), x: device_x.view() }.run(bench.device()).unwrap();
    let slopes =
        x[..7].iter().map(|&x| bf16::from_f32(if x == bf16::ZERO { 0.5 } else { (x > bf16::ZERO) as u8 as f32 }));
    assert_eq!(bench.read(d.view())[..7], slopes.collect::<Vec<_>>());
}
