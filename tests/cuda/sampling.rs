//! The kernel must draw what the host draws, unless the uniform falls so near a boundary between two shares that their
//! arithmetic decides: the host adds f64 weights, the kernel integer ones from an f32 exponential.

use crate::harness::{Bench, Guarded, on_devices, random, wide};
use half::bf16;
use logwright::cpu::sampling;
use logwright::cuda::ops::sampling as kernel;
use logwright::engine::{SampleRequest, SamplingParams};

on_devices! { small_vocabulary large_vocabulary exact_boundaries greedy_takes_the_first_of_equals nothing_allowed }

/// How far a weight of the kernel, in units of the largest, may lie from the true one: CUDA's expf errs by 2 ulp at
/// most (CUDA C++ Programming Guide, "Mathematical Functions"), and weights are cut to whole multiples of 2^-40.
fn weight_error(weight: f64) -> f64 {
    2.0 * f32::EPSILON as f64 * weight + 2f64.powi(-40)
}

/// Whether `token` may be drawn, given the errors of the weights.
fn is_right(token: u32, logits: &[f32], draw: &SampleRequest) -> bool {
    if sampling::draw(logits, draw) == token {
        return true;
    }
    let share = |params: &SamplingParams| {
        let kept = sampling::kept(logits, params, draw.allowed);
        let total: f64 = kept.iter().map(|&(_, weight)| weight).sum();
        // Of a cumulated sum, and of uniform x total, which has the error of the total at most.
        let error = 2.0 * kept.iter().map(|&(_, weight)| weight_error(weight)).sum::<f64>();
        (kept, total, error)
    };
    let all = SamplingParams { top_p: 1.0, ..draw.params };
    let (_, total, error) = share(&all);
    // The edge of the nucleus may fall elsewhere, as the kernel's sums reach top_p x total a little sooner or later.
    let shift = error / total + f32::EPSILON as f64;
    let edges = [-shift, 0.0, shift].map(|shift| (draw.params.top_p as f64 + shift) as f32);
    edges.into_iter().any(|top_p| {
        let top_p = if draw.params.top_p < 1.0 { top_p } else { 1.0 };
        let (kept, total, error) = share(&SamplingParams { top_p, ..draw.params });
        let target = draw.uniform * total;
        let mut reached = 0.0;
        kept.iter().any(|&(kept, weight)| {
            let (low, high) = (reached, reached + weight);
            reached = high;
            kept == token && weight > 0.0 && low - error <= target && target < high + error
        })
    })
}

/// Draws once for each of `draws`, all from the same logits, in rows that are longer than the vocabulary.
fn run(bench: &Bench, logits: &[f32], draws: &[SampleRequest], masks: Option<&[u32]>) -> Vec<u32> {
    let stride = logits.len().next_multiple_of(128);
    let mut row: Vec<bf16> = logits.iter().map(|&x| bf16::from_f32(x)).collect();
    // Padding wins wherever it is looked at.
    row.resize(stride, bf16::INFINITY);
    let encoded: Vec<u32> = draws.iter().flat_map(kernel::encode).collect();
    let (tokens, device_logits) = (bench.output(draws.len()), bench.input(&row.repeat(draws.len())));
    let (device_draws, masks) = (bench.input(&encoded), masks.map(|masks| bench.input(masks)));
    kernel::Draw {
        tokens: tokens.view_mut(),
        logits: device_logits.view(),
        draws: device_draws.view(),
        masks: masks.as_ref().map(Guarded::view),
        vocab: logits.len(),
    }
    .run(bench.device())
    .unwrap();
    bench.read(tokens.view())
}

fn check(bench: &Bench, what: &str, logits: &[f32], draws: &[SampleRequest], masks: Option<&[u32]>) {
    let found = run(bench, logits, draws, masks);
    for (&token, draw) in found.iter().zip(draws) {
        let SampleRequest { params, uniform, .. } = draw;
        let wanted = || sampling::draw(logits, draw);
        assert!(is_right(token, logits, draw), "{what}, {params:?}, {uniform}: drew {token}, not {}", wanted());
    }
}

/// Every combination.
fn choices(temperatures: &[f32], top_ks: &[usize], top_ps: &[f32]) -> Vec<SamplingParams> {
    let pair = |temperature| top_ks.iter().map(move |&top_k| (temperature, top_k));
    let pairs = temperatures.iter().flat_map(|&temperature| pair(temperature));
    pairs
        .flat_map(|(temperature, top_k)| top_ps.iter().map(move |&top_p| SamplingParams { temperature, top_k, top_p }))
        .collect()
}

/// `each` draws of every params, with uniforms that begin at 0.
fn draws<'a>(choices: &[SamplingParams], each: usize, allowed: Option<&'a [u32]>) -> Vec<SampleRequest<'a>> {
    let mut uniforms = wide(&random(choices.len() * each, 9, 1.0)).into_iter().map(|x| (x.abs() * 0.7310585786) % 1.0);
    let uniform = |i: usize, drawn: f64| if i == 0 { 0.0 } else { drawn };
    let draws = choices.iter().flat_map(|&params| (0..each).map(move |i| (params, i)));
    draws.map(|(params, i)| SampleRequest { params, uniform: uniform(i, uniforms.next().unwrap()), allowed }).collect()
}

/// Logits of several kinds.
fn kinds(vocab: usize) -> Vec<(&'static str, Vec<f32>)> {
    let plain = random(vocab, 5, 8.0);
    let few: Vec<f32> = plain.iter().map(|x| (x / 4.0).round()).collect();
    let ruled_out = |every: usize| move |(i, &x): (usize, &f32)| if i % every == 1 { f32::NEG_INFINITY } else { x };
    let some = plain.iter().enumerate().map(ruled_out(3)).collect();
    let tiny: Vec<f32> =
        random(vocab, 6, 1e-3).iter().zip(&plain).map(|(t, p)| if *p < 0.0 { -0.0 } else { *t }).collect();
    let strange = few.iter().enumerate().map(|(i, &x)| if i % 7 == 2 { f32::NAN } else { x }).collect();
    vec![
        ("plain", plain),
        ("ties", few),
        ("-inf", some),
        ("around zero", tiny),
        ("NaN", strange),
        ("all -inf", vec![f32::NEG_INFINITY; vocab]),
    ]
}

/// A bit set of every token but each `without`-th.
fn mask(vocab: usize, without: usize) -> Vec<u32> {
    let mut bits = vec![0; vocab.div_ceil(32)];
    (0..vocab).filter(|token| token % without != 0).for_each(|token| bits[token / 32] |= 1 << (token % 32));
    bits
}

fn small_vocabulary(bench: &Bench) {
    let choices = choices(&[0.0, 0.5, 1.0], &[0, 1, 40, 60, 200], &[0.1, 0.9, 1.0]);
    let mask = mask(82, 2);
    for (kind, logits) in kinds(82) {
        check(bench, kind, &logits, &draws(&choices, 3, None), None);
        check(bench, kind, &logits, &draws(&choices, 2, Some(&mask)), Some(&mask));
    }
}

fn large_vocabulary(bench: &Bench) {
    let choices = choices(&[0.5, 1.0], &[0, 40], &[0.9, 1.0]);
    let masks = [mask(50257, 5), mask(50257, 3)];
    for (kind, logits) in kinds(50257).into_iter().take(3) {
        // A mask a row.
        let draws: Vec<SampleRequest> = draws(&choices, 2, None)
            .into_iter()
            .enumerate()
            .map(|(i, draw)| SampleRequest { allowed: Some(&masks[i % 2]), ..draw })
            .collect();
        let of_rows: Vec<u32> = draws.iter().flat_map(|draw| draw.allowed.unwrap().to_vec()).collect();
        check(bench, kind, &logits, &draws, Some(&of_rows));
    }
}

/// Where all weights are equal both sides are exact, so the shares must meet where they should, to the last bit.
fn exact_boundaries(bench: &Bench) {
    let logits = [2.5; 96];
    for (params, kept) in [
        (SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 }, 96usize),
        (SamplingParams { temperature: 0.7, top_k: 64, top_p: 1.0 }, 64),
        (SamplingParams { temperature: 1.0, top_k: 64, top_p: 0.5 }, 32),
        (SamplingParams { temperature: 1.0, top_k: 0, top_p: 0.25 }, 24),
    ] {
        // Where a share is a power of two its very start is exact; the other shares are entered a little further in.
        let inside = |token: usize, by: f64| (token as f64 + by) / kept as f64;
        let mut draws = Vec::new();
        for token in 0..kept {
            let start = if kept.is_power_of_two() { inside(token, 0.0) } else { inside(token, 1e-9) };
            draws.push((token, start));
            draws.push((token, inside(token, 1.0 - 1e-9)));
        }
        let of = |&(_, uniform): &(usize, f64)| SampleRequest { params, uniform, allowed: None };
        let found = run(bench, &logits, &draws.iter().map(of).collect::<Vec<_>>(), None);
        let wanted: Vec<u32> = draws.iter().map(|&(token, _)| token as u32).collect();
        assert_eq!(found, wanted, "{params:?}");
    }
}

fn greedy_takes_the_first_of_equals(bench: &Bench) {
    let params = SamplingParams { temperature: 0.0, top_k: 0, top_p: 0.3 };
    for place in [0, 1, 7, 8, 500, 2047, 2048, 2998] {
        let mut logits = random(3000, place as u64, 1.0);
        logits[place] = 3.0;
        logits[2999] = 3.0;
        assert_eq!(run(bench, &logits, &[SampleRequest { params, uniform: 0.9, allowed: None }], None), [place as u32]);
    }
}

fn nothing_allowed(bench: &Bench) {
    let params = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
    let found =
        run(bench, &[1.0; 40], &[SampleRequest { params, uniform: 0.5, allowed: None }], Some(&[0, 0xffff_ff00]));
    assert_eq!(found, [u32::MAX], "bits beyond the vocabulary stand for no token");
}
