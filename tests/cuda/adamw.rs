use crate::harness::{Bench, Hardware, assert_close_on, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu;
use logwright::cuda::ops::adamw::{self, CastBf16, Decide, NormPartials, PARTIALS, UpdateParameters};
use logwright::engine::AdamW;

on_devices! { norm decisions ten_updates a_refused_update cast_bf16 }

const STEP: AdamW =
    AdamW { lr: 6e-4, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0, step: 1 };

/// [factor, go], [loss, norm] and the loss left, from all gradients.
fn decide(bench: &Bench, gradients: &[f32], loss: f64, step: &AdamW) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let (partials, decision, report) = (bench.output(PARTIALS), bench.output(2), bench.output(2));
    let (loss, settings, gradients) =
        (bench.input(&[loss]), bench.input(&adamw::settings(step)), bench.input(gradients));
    NormPartials { partials: partials.view_mut(), gradients: gradients.view() }.run(bench.device()).unwrap();
    Decide {
        decision: decision.view_mut(),
        report: report.view_mut(),
        loss: loss.view_mut(),
        partials: partials.view(),
        settings: settings.view(),
    }
    .run(bench.device())
    .unwrap();
    (bench.read(decision.view()), bench.read(report.view()), bench.read(loss.view()))
}

/// Multiples of 1/256: their squares add up exactly in f64, whatever the order.
fn exact(n: usize) -> Vec<f32> {
    random(n, 7, 1.0).iter().map(|x| (x * 256.0).round() / 256.0).collect()
}

fn norm(bench: &Bench) {
    for n in [4, 1028, 40_004] {
        let gradients = exact(n);
        let (_, report, _) = decide(bench, &gradients, 2.5, &STEP);
        assert_eq!(report, [2.5, cpu::adamw::global_norm(&gradients)]);
    }
    // Squares beyond f32.
    assert_eq!(decide(bench, &[3e25, 0.0, 0.0, 4e25], 0.0, &STEP).1[1], cpu::adamw::global_norm(&[3e25, 4e25]));
}

fn decisions(bench: &Bench) {
    let gradients = [3.0, 0.0, 4.0, 0.0];
    let clipped = (2.0 / (5.0 + 1e-6)) as f32;
    let cases = [(0.0, 1.0), (2.0, clipped), (5.5, 1.0)];
    for (clip, factor) in cases {
        let (decision, _, left) = decide(bench, &gradients, 0.5, &AdamW { max_grad_norm: clip, ..STEP });
        assert_eq!((decision, left), (vec![factor, 1.0], vec![0.0]), "clip {clip}");
    }
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for x in bad {
        assert_eq!(decide(bench, &gradients, x as f64, &STEP).0[1], 0.0, "loss {x}");
        let (decision, report, left) = decide(bench, &[0.0, 1.0, x, 0.0], 0.5, &STEP);
        assert_eq!((decision[1], report[0], left[0]), (0.0, 0.5, 0.0), "gradient {x}");
        assert!(!report[1].is_finite());
    }
}

/// Parameters and moments.
struct State<T>([Vec<T>; 3]);

/// The formula of [`AdamW`] in f64, with the settings as they are in f32.
fn truth(state: &mut State<f64>, gradients: &[f32], step: &AdamW, decayed: usize, factor: f32) {
    let AdamW { lr, beta_1, beta_2, epsilon, weight_decay, .. } = *step;
    let [lr, b1, b2, epsilon, weight_decay] = [lr, beta_1, beta_2, epsilon, weight_decay].map(|x| x as f64);
    let [p, m, v] = &mut state.0;
    for (i, &g) in gradients.iter().enumerate() {
        let g = g as f64 * factor as f64;
        m[i] = b1 * m[i] + (1.0 - b1) * g;
        v[i] = b2 * v[i] + (1.0 - b2) * g * g;
        let unbiased = |x: f64, beta: f64| x / (1.0 - beta.powi(step.step as i32));
        let decay = if i < decayed { weight_decay } else { 0.0 };
        p[i] -= lr * (unbiased(m[i], b1) / (unbiased(v[i], b2).sqrt() + epsilon) + decay * p[i]);
    }
}

/// Sizes of the products that a GPU may fuse with the sums of the moments, added up over the steps as the moments are. None for
/// the parameters.
struct Products([Vec<f64>; 3]);

impl Products {
    fn add(&mut self, state: &State<f64>, gradients: &[f32], factor: f32) {
        let [_, of_m, of_v] = &mut self.0;
        let [_, m, v] = &state.0;
        let (b1, b2) = (f64::from(STEP.beta_1), f64::from(STEP.beta_2));
        for (i, &g) in gradients.iter().enumerate() {
            let g = f64::from(g) * f64::from(factor);
            of_m[i] = b1 * of_m[i] + (b1 * m[i].abs()).max((1.0 - b1) * g.abs());
            of_v[i] = b2 * of_v[i] + (b2 * v[i]).max((1.0 - b2) * g * g);
        }
    }
}

fn naive(state: &mut State<f32>, gradients: &[f32], step: &AdamW, decayed: usize, factor: f32) {
    let [p, m, v] = &mut state.0;
    for (range, decay) in [(0..decayed, step.weight_decay), (decayed..gradients.len(), 0.0)] {
        let slices = cpu::adamw::Slices {
            parameters: &mut p[range.clone()],
            gradients: &gradients[range.clone()],
            exp_avg: &mut m[range.clone()],
            exp_avg_sq: &mut v[range],
        };
        cpu::adamw::update(slices, step, decay, factor);
    }
}

fn ten_updates(bench: &Bench) {
    for (n, decayed) in [(4, 4), (1028, 517), (5000, 0)] {
        let start = [random(n, 1, 1.0), vec![0.0; n], vec![0.0; n]];
        let [parameters, exp_avg, exp_avg_sq] = [0, 1, 2].map(|i| bench.input(&start[i]));
        let mut exact = State([0, 1, 2].map(|i| wide(&start[i])));
        let mut plain = State(start);
        let mut products = Products([(); 3].map(|_| vec![0.0; n]));
        let (params_bf16, gradients) = (bench.output(n), bench.output(n));
        let factor = 0.7;
        let (settings, decision) = (bench.output(8), bench.input(&[factor, 1.0]));
        for time in 1..=10 {
            let step = AdamW { step: time, lr: 1e-2 / time as f32, ..STEP };
            let values = random(n, 100 + time, 1.0);
            gradients.view_mut().upload(&values).unwrap();
            settings.view_mut().upload(&adamw::settings(&step)).unwrap();
            UpdateParameters {
                parameters: parameters.view_mut(),
                params_bf16: params_bf16.view_mut(),
                gradients: gradients.view_mut(),
                exp_avg: exp_avg.view_mut(),
                exp_avg_sq: exp_avg_sq.view_mut(),
                settings: settings.view(),
                decision: decision.view(),
                decayed,
            }
            .run(bench.device())
            .unwrap();
            products.add(&exact, &values, factor);
            truth(&mut exact, &values, &step, decayed, factor);
            naive(&mut plain, &values, &step, decayed, factor);
            for (i, (what, found)) in
                [("parameters", &parameters), ("exp_avg", &exp_avg), ("exp_avg_sq", &exp_avg_sq)].iter().enumerate()
            {
                let fused = [(Hardware::FusedMultiplyAdd, &products.0[i][..])];
                let (found, what) = (bench.read(found.view()), format!("{what}, step {time}"));
                assert_close_on(&fused, &what, &found, &exact.0[i], &plain.0[i]);
            }
            assert_eq!(bench.read(params_bf16.view()), round(&bench.read(parameters.view())));
            assert_eq!(bench.read(gradients.view()), vec![0.0; n]);
        }
    }
}

/// Only the gradients are cleared.
fn a_refused_update(bench: &Bench) {
    let n = 1028;
    let values = random(n, 1, 1.0);
    let [parameters, gradients, exp_avg, exp_avg_sq] = [(); 4].map(|_| bench.input(&values));
    let params_bf16 = bench.rounded(&values);
    let (settings, decision) = (bench.input(&adamw::settings(&STEP)), bench.input(&[1f32, 0.0]));
    UpdateParameters {
        parameters: parameters.view_mut(),
        params_bf16: params_bf16.view_mut(),
        gradients: gradients.view_mut(),
        exp_avg: exp_avg.view_mut(),
        exp_avg_sq: exp_avg_sq.view_mut(),
        settings: settings.view(),
        decision: decision.view(),
        decayed: n,
    }
    .run(bench.device())
    .unwrap();
    for untouched in [parameters, exp_avg, exp_avg_sq] {
        assert_eq!(bench.read(untouched.view()), values);
    }
    assert_eq!(bench.read(params_bf16.view()), round(&values));
    assert_eq!(bench.read(gradients.view()), vec![0.0; n]);
}

fn cast_bf16(bench: &Bench) {
    for n in [4, 1028, 5000] {
        let values: Vec<f32> = random(n, 1, 1.0).iter().zip(random(n, 2, 1e-3)).map(|(a, b)| a + b).collect();
        let params_bf16 = bench.output::<bf16>(n);
        let parameters = bench.input(&values);
        CastBf16 { params_bf16: params_bf16.view_mut(), parameters: parameters.view() }.run(bench.device()).unwrap();
        assert_eq!(bench.read(params_bf16.view()), round(&values));
    }
}
