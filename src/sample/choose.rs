//! From logits to a token.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Divides the logits; 0: the likeliest token.
    pub temperature: f32,
    /// Keeps the k likeliest tokens; 0: all.
    pub top_k: usize,
    /// Keeps the likeliest tokens that together reach this probability (nucleus sampling, Holtzman et al., 2020); 1: all.
    pub top_p: f32,
}

impl Choice {
    /// Draws a token from `logits` (V), after `allowed` has ruled tokens out. Ties go to the lower token.
    pub fn draw(&self, logits: &[f32], allowed: impl Fn(u32) -> bool, rng: &mut ChaCha8Rng) -> u32 {
        let mut candidates: Vec<(u32, f32)> =
            logits.iter().enumerate().map(|(token, &logit)| (token as u32, logit)).filter(|c| allowed(c.0)).collect();
        assert!(!candidates.is_empty(), "some token must be allowed");
        if self.temperature == 0.0 {
            return candidates
                .into_iter()
                .reduce(|best, next| if next.1 > best.1 { next } else { best })
                .expect("some")
                .0;
        }
        if self.top_k > 0 || self.top_p < 1.0 {
            // A stable sort by logit, so that equal logits stay in the order of their tokens.
            candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
        }
        if self.top_k > 0 {
            candidates.truncate(self.top_k);
        }
        let top = candidates.iter().fold(f32::NEG_INFINITY, |top, candidate| top.max(candidate.1));
        let weight = |&(_, logit): &(u32, f32)| (((logit - top) / self.temperature) as f64).exp();
        let mut weights: Vec<f64> = candidates.iter().map(weight).collect();
        if self.top_p < 1.0 {
            let wanted = self.top_p as f64 * weights.iter().sum::<f64>();
            let mut reached = 0.0;
            let kept = weights.iter().take_while(|&&weight| {
                let more = reached < wanted;
                reached += weight;
                more
            });
            let kept = kept.count().max(1);
            weights.truncate(kept);
        }
        let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * weights.iter().sum::<f64>();
        for (candidate, weight) in candidates.iter().zip(&weights) {
            left -= weight;
            if left < 0.0 {
                return candidate.0;
            }
        }
        candidates[weights.len() - 1].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const ALL: Choice = Choice { temperature: 1.0, top_k: 0, top_p: 1.0 };
    const SHARES: [f32; 4] = [0.1, 0.2, 0.3, 0.4];

    fn shares(choice: Choice, allowed: impl Fn(u32) -> bool + Copy) -> [f64; 4] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0.0; 4];
        (0..40_000)
            .for_each(|_| counts[choice.draw(&SHARES.map(f32::ln), allowed, &mut rng) as usize] += 1.0 / 40_000.0);
        counts
    }

    fn assert_close(found: [f64; 4], wanted: [f64; 4]) {
        // Five standard errors of a share of 40,000 draws; exact zeros stay exact.
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(
                (found - wanted).abs() <= 5.0 * (wanted * (1.0 - wanted) / 40_000.0).sqrt() + 1e-9,
                "{found} {wanted}"
            );
        }
    }

    #[test]
    fn shares_follow_the_probabilities() {
        assert_close(shares(ALL, |_| true), [0.1, 0.2, 0.3, 0.4]);
        assert_close(shares(ALL, |token| token != 3), [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0, 0.0]);
    }

    #[test]
    fn temperature_top_k_and_top_p() {
        assert_close(
            shares(Choice { temperature: 0.5, ..ALL }, |_| true),
            [1.0 / 30.0, 4.0 / 30.0, 9.0 / 30.0, 16.0 / 30.0],
        );
        assert_close(shares(Choice { top_k: 2, ..ALL }, |_| true), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
        assert_close(shares(Choice { top_p: 0.65, ..ALL }, |_| true), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0]);
        assert_close(shares(Choice { top_p: 0.1, ..ALL }, |_| true), [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(Choice { temperature: 0.0, ..ALL }.draw(&[0.0, 2.0, 2.0], |_| true, &mut rng), 1);
    }
}
