use crate::harness::{Bench, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::ops::cross_entropy::{AddLosses, Forward, ForwardBackward};
use logwright::engine::IGNORE;

on_devices! { forward forward_backward what_is_not_finite_shows add_losses }

/// rows, vocabulary, padded vocabulary
const SHAPES: [[usize; 3]; 7] =
    [[1, 82, 128], [65, 82, 128], [7, 128, 128], [5, 1000, 1024], [3, 2049, 2056], [3, 4100, 4224], [3, 50257, 50304]];

/// Logits with a padding that would win every row if it were read; targets at both ends of the vocabulary and ignored.
fn inputs(n: usize, vocab: usize, stride: usize) -> (Vec<f32>, Vec<u32>) {
    let mut logits = random(n * stride, 1, 12.0);
    logits.chunks_mut(stride).for_each(|row| row[vocab..].fill(100.0));
    let choices = random(n, 2, 1.0);
    let target = |row: usize| match row % 5 {
        1 => IGNORE,
        2 => vocab as u32 - 1,
        3 => 0,
        _ => (choices[row].abs() * vocab as f32) as u32 % vocab as u32,
    };
    (logits, (0..n).map(target).collect())
}

/// Losses (n) and dlogits (n, stride) of the reference. It makes its logits itself; with one channel, x = 1 and the
/// logits as head these are the ones wanted, and the head's gradient is theirs.
fn reference<R: cpu::Real>(logits: &[R], targets: &[u32], scale: R, vocab: usize) -> (Vec<R>, Vec<R>) {
    let stride = logits.len() / targets.len();
    let mut losses = vec![R::ZERO; targets.len()];
    let mut dlogits = vec![R::ZERO; logits.len()];
    let mut scratch = vec![R::ZERO; vocab];
    for (row, target) in targets.iter().enumerate() {
        let (head, dhead) = (&logits[row * stride..][..vocab], &mut dlogits[row * stride..][..vocab]);
        let (loss, target) = (&mut losses[row..row + 1], &[*target]);
        let (x, mut dx) = ([R::ONE], [R::ZERO]);
        cpu::cross_entropy::forward_backward(loss, &mut dx, dhead, &mut scratch, &x, head, target, scale, 1);
    }
    (losses, dlogits)
}

fn forward(bench: &Bench) {
    for [n, vocab, stride] in SHAPES {
        let (logits, targets) = inputs(n, vocab, stride);
        let (losses, device_logits, device_targets) = (bench.output(n), bench.rounded(&logits), bench.input(&targets));
        let (to, targets_view) = (losses.view_mut(), device_targets.view());
        Forward { losses: to, logits: device_logits.view(), targets: targets_view, vocab }.run(bench.device()).unwrap();
        let truth = reference(&wide(&logits), &targets, 1.0, vocab).0;
        assert_close("losses", &bench.read(losses.view()), &truth, &reference(&logits, &targets, 1.0, vocab).0);
        assert_eq!(bench.read(device_logits.view()), round(&logits), "the forward pass leaves the logits alone");
    }
}

fn forward_backward(bench: &Bench) {
    for [n, vocab, stride] in SHAPES {
        let (logits, targets) = inputs(n, vocab, stride);
        let scale = 1.0 / 3.0;
        let (losses, device_logits) = (bench.output(n), bench.rounded(&logits));
        let (device_targets, device_scale) = (bench.input(&targets), bench.input(&[scale]));
        ForwardBackward {
            losses: losses.view_mut(),
            logits: device_logits.view_mut(),
            targets: device_targets.view(),
            scale: device_scale.view(),
            vocab,
        }
        .run(bench.device())
        .unwrap();
        let truth = reference(&wide(&logits), &targets, scale as f64, vocab);
        let naive = reference(&logits, &targets, scale, vocab);
        assert_close("losses", &bench.read(losses.view()), &truth.0, &naive.0);
        let dlogits = bench.read(device_logits.view());
        assert_close("dlogits", &dlogits, &truth.1, &round(&naive.1));
        let silent = |i: usize| targets[i / stride] == IGNORE || i % stride >= vocab;
        assert!((0..n * stride).filter(|&i| silent(i)).all(|i| dlogits[i] == bf16::ZERO), "padding and ignored rows");
    }
}

/// A NaN or an infinity among the logits reaches the loss.
fn what_is_not_finite_shows(bench: &Bench) {
    for (vocab, stride) in [(82, 128), (2500, 2560)] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut logits = random(stride, 1, 3.0);
            logits[vocab - 1] = bad;
            let losses = bench.output::<f32>(1);
            let (logits, targets) = (bench.input(&round(&logits)), bench.input(&[0u32]));
            let (to, targets) = (losses.view_mut(), targets.view());
            Forward { losses: to, logits: logits.view(), targets, vocab }.run(bench.device()).unwrap();
            assert!(!bench.read(losses.view())[0].is_finite(), "{bad} in {vocab}");
        }
    }
}

/// Multiples of 1/64 with a few large ones: their sum is exact in f64, in any order, but not in f32.
fn add_losses(bench: &Bench) {
    for n in [1, 63, 257, 9001] {
        let mut losses: Vec<f32> = random(n, 1, 4.0).iter().map(|x| (x * 64.0).round() / 64.0).collect();
        losses.iter_mut().step_by(7).for_each(|loss| *loss += 65536.0);
        let (total, device_losses, scale) = (bench.input(&[1.5f64]), bench.input(&losses), bench.input(&[0.25f32]));
        let add = AddLosses { total: total.view_mut(), losses: device_losses.view(), scale: scale.view() };
        add.run(bench.device()).unwrap();
        assert_eq!(bench.read(total.view()), [1.5 + 0.25 * wide(&losses).iter().sum::<f64>()]);
    }
}
