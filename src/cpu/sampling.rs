//! From logits to a token: the specification of [`SampleRequest`].

use crate::engine::{SampleRequest, SamplingParams};
use rayon::prelude::*;

/// Draws a token from `logits` (V). Panics where no token is allowed.
pub fn draw(logits: &[f32], draw: &SampleRequest) -> u32 {
    let kept = kept(logits, &draw.params, draw.allowed);
    let target = draw.uniform * kept.iter().map(|&(_, weight)| weight).sum::<f64>();
    let mut reached = 0.0;
    let drawn = kept.iter().find(|&&(_, weight)| {
        reached += weight;
        reached > target
    });
    // Rounding may lift the target to the total: then it is the last that has a share.
    let last = || kept.iter().rfind(|&&(_, weight)| weight > 0.0).expect("the likeliest token has weight 1");
    drawn.unwrap_or_else(last).0
}

/// Draws a token from each row of `logits` (R, V) and measures what its draw allowed: `draws`, `tokens` and `shares` (R).
pub fn draw_measured(logits: &[f32], draws: &[SampleRequest], tokens: &mut [u32], shares: &mut [f64]) {
    assert_eq!((tokens.len(), shares.len()), (draws.len(), draws.len()));
    let vocab = logits.len() / draws.len().max(1);
    let rows = logits.par_chunks_exact(vocab.max(1)).zip(draws).zip(tokens).zip(shares);
    rows.for_each(|(((logits, row), token), share)| {
        *token = draw(logits, row);
        *share = allowed_share(logits, row);
    });
}

/// The share of the probability at the draw's temperature, before `top_k` and `top_p`, that lies on the allowed tokens: in 0..=1.
fn allowed_share(logits: &[f32], draw: &SampleRequest) -> f64 {
    let Some(allowed) = draw.allowed else { return 1.0 };
    let all = kept(logits, &SamplingParams { top_k: 0, top_p: 1.0, ..draw.params }, None);
    let is_allowed = |token: u32| allowed[token as usize / 32] >> (token % 32) & 1 == 1;
    let sum = |fits: &dyn Fn(u32) -> bool| -> f64 {
        all.iter().filter(|&&(token, _)| fits(token)).map(|&(_, weight)| weight).sum()
    };
    sum(&is_allowed) / sum(&|_| true)
}

/// The tokens that may be drawn, in the order of their numbers, with their weights: 1 for the likeliest.
/// Panics where no token is allowed.
pub fn kept(logits: &[f32], params: &SamplingParams, allowed: Option<&[u32]>) -> Vec<(u32, f64)> {
    let is_allowed = |token: usize| allowed.is_none_or(|bits| bits[token / 32] >> (token % 32) & 1 == 1);
    let usable = |logit: f32| if logit.is_nan() { f32::NEG_INFINITY } else { logit };
    let candidates = logits.iter().enumerate().filter(|&(token, _)| is_allowed(token));
    let mut candidates: Vec<(u32, f32)> = candidates.map(|(token, &logit)| (token as u32, usable(logit))).collect();
    let larger = |best: (u32, f32), next: (u32, f32)| if next.1 > best.1 { next } else { best };
    let top = candidates.iter().copied().reduce(larger).expect("some token must be allowed");
    if params.temperature == 0.0 {
        return vec![(top.0, 1.0)];
    }
    let cuts = params.top_k > 0 || params.top_p < 1.0;
    if cuts {
        // A stable sort: equal logits stay in the order of their tokens.
        candidates.sort_by(|a, b| b.1.partial_cmp(&a.1).expect("no NaN is left"));
    }
    if params.top_k > 0 {
        candidates.truncate(params.top_k);
    }
    let sharpness = 1.0 / params.temperature;
    // A difference of two infinities would be NaN.
    let weight = |logit: f32| if logit == top.1 { 1.0 } else { (((logit - top.1) * sharpness) as f64).exp() };
    let mut kept: Vec<(u32, f64)> = candidates.into_iter().map(|(token, logit)| (token, weight(logit))).collect();
    if params.top_p < 1.0 {
        let wanted = params.top_p as f64 * kept.iter().map(|&(_, weight)| weight).sum::<f64>();
        let mut reached = 0.0;
        let needed = kept.iter().take_while(|&&(_, weight)| {
            let more = reached < wanted;
            reached += weight;
            more
        });
        let needed = needed.count().max(1);
        kept.truncate(needed);
    }
    if cuts {
        kept.sort_by_key(|&(token, _)| token);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: SamplingParams = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
    const SHARES: [f32; 4] = [0.1, 0.2, 0.3, 0.4];
    const DRAWS: usize = 1000;

    /// Shares of the tokens over evenly spread uniforms.
    fn shares(logits: [f32; 4], params: SamplingParams, allowed: Option<&[u32]>) -> [f64; 4] {
        let mut counts = [0.0; 4];
        for i in 0..DRAWS {
            let uniform = (i as f64 + 0.5) / DRAWS as f64;
            counts[draw(&logits, &SampleRequest { params, uniform, allowed }) as usize] += 1.0 / DRAWS as f64;
        }
        counts
    }

    fn assert_close(found: [f64; 4], wanted: [f64; 4]) {
        // A share that is cut at both ends may miss one uniform more or less.
        let near = |(found, wanted): (&f64, &f64)| match *wanted {
            0.0 => *found == 0.0,
            wanted => (found - wanted).abs() <= 1.01 / DRAWS as f64,
        };
        assert!(found.iter().zip(&wanted).all(near), "{found:?} {wanted:?}");
    }

    #[test]
    fn shares_follow_the_probabilities() {
        let logits = SHARES.map(f32::ln);
        assert_close(shares(logits, ALL, None), [0.1, 0.2, 0.3, 0.4]);
        assert_close(shares(logits, ALL, Some(&[0b0111])), [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0, 0.0]);
    }

    #[test]
    fn temperature_top_k_and_top_p() {
        let shares = |params| shares(SHARES.map(f32::ln), params, None);
        assert_close(
            shares(SamplingParams { temperature: 0.5, ..ALL }),
            [1.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0, 16.0 / 30.0],
        );
        assert_close(shares(SamplingParams { top_k: 2, ..ALL }), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
        assert_close(shares(SamplingParams { top_p: 0.65, ..ALL }), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
        assert_close(shares(SamplingParams { top_p: 0.1, ..ALL }), [0.0, 0.0, 0.0, 1.0]);
        // top_p counts within what top_k has left: 0.4 / 0.7 is below 0.6, and above 0.57.
        assert_close(shares(SamplingParams { top_k: 2, top_p: 0.6, ..ALL }), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
        assert_close(shares(SamplingParams { top_k: 2, top_p: 0.57, ..ALL }), [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn kept_tokens_share_in_the_order_of_their_numbers() {
        let params = SamplingParams { top_k: 2, ..ALL };
        let drawn = |uniform| draw(&[0.0, 1.0, 0.5, 1.0], &SampleRequest { params, uniform, allowed: None });
        assert_eq!([0.0, 0.49, 0.5, 1.0f64.next_down()].map(drawn), [1, 1, 3, 3]);
    }

    #[test]
    fn of_equals_the_first_counts_as_likelier() {
        let params = SamplingParams { temperature: 0.0, ..ALL };
        assert_eq!(draw(&[0.0, 2.0, 2.0], &SampleRequest { params, uniform: 0.9, allowed: None }), 1);
        assert_close(shares([1.0; 4], SamplingParams { top_k: 2, ..ALL }, None), [0.5, 0.5, 0.0, 0.0]);
        assert_close(
            shares([1.0; 4], SamplingParams { top_p: 0.75, ..ALL }, Some(&[0b1110])),
            [0.0, 1. / 3., 1. / 3., 1. / 3.],
        );
        assert_close(shares([0.0, -0.0, 0.0, -0.0], SamplingParams { top_k: 2, ..ALL }, None), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn the_allowed_share_is_of_the_probability_at_the_temperature() {
        let logits = SHARES.map(f32::ln);
        let share = |params, allowed: Option<&[u32]>| {
            let (mut token, mut share) = ([9], [f64::NAN]);
            draw_measured(&logits, &[SampleRequest { params, uniform: 0.0, allowed }], &mut token, &mut share);
            assert!(allowed.is_none_or(|bits| bits[0] >> token[0] & 1 == 1));
            share[0]
        };
        assert_eq!(share(ALL, None), 1.0);
        assert_eq!(share(ALL, Some(&[0b1111])), 1.0);
        assert!((share(ALL, Some(&[0b0101])) - 0.4).abs() < 1e-6);
        // Squared and divided by their sum 0.30: 0.01 + 0.09 of it. Cuts do not count.
        let sharper = SamplingParams { temperature: 0.5, top_k: 1, top_p: 0.1 };
        assert!((share(sharper, Some(&[0b0101])) - 1.0 / 3.0).abs() < 1e-6);
        let coldest = SamplingParams { temperature: 0.0, ..ALL };
        assert_eq!([0b1000, 0b0111].map(|bits| share(coldest, Some(&[bits]))), [1.0, 0.0]);
    }

    #[test]
    fn infinite_logits_and_nan_are_no_trap() {
        const NEVER: f32 = f32::NEG_INFINITY;
        assert_close(shares([NEVER, f32::NAN, 3.0, NEVER], ALL, None), [0.0, 0.0, 1.0, 0.0]);
        assert_close(shares([NEVER; 4], ALL, None), [0.25; 4]);
        assert_close(shares([0.0, f32::INFINITY, 3.0, f32::INFINITY], ALL, None), [0.0, 0.5, 0.0, 0.5]);
    }
}
