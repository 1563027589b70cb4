//! A random number generator whose results depend on the seed alone, for ever.
//!
//! The bits are the ChaCha8 key stream, which is specified. Every conversion of bits to a number is implemented here with
//! integers only, so that no update of a crate and no platform's `ln` can change a byte of a corpus.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Bytes 8..32 of the key; the user's seed is the first eight. A different text would change every corpus.
const KEY_TAIL: &[u8; 24] = b"logwright sign-in source";

pub struct SeededRng(ChaCha8Rng);

impl SeededRng {
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..].copy_from_slice(KEY_TAIL);
        SeededRng(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `0..n`: the high half of a 64 x 64-bit product. The bias is below n / 2^64, which is negligible here.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True with probability `per_mille` / 1,000.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// An index into `weights`, with a probability proportional to its weight; the weights must not all be zero.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut point = self.below(weights.iter().map(|&w| u64::from(w)).sum());
        for (i, &weight) in weights.iter().enumerate() {
            if point < u64::from(weight) {
                return i;
            }
            point -= u64::from(weight);
        }
        unreachable!("the point is below the sum of the weights")
    }

    /// A waiting time with the given mean and nearly exponential distribution: the density is constant during a half-life
    /// and halves at its end. (The leading zeros of random bits count half-lives; the mean is 1 + 1/2 half-lives.)
    pub fn wait(&mut self, mean: u64) -> u64 {
        let half_life = mean * 2 / 3;
        let whole = u64::from(self.0.next_u64().leading_zeros());
        whole * half_life + self.below(half_life.max(1))
    }

    /// The first `count` elements of a random permutation of `0..len` (Fisher-Yates, stopped early).
    pub fn sample(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for i in 0..count.min(len) {
            let j = i + self.index(len - i);
            order.swap(i, j);
        }
        order.truncate(count);
        order
    }

    /// A version-4 UUID in lower-case hexadecimal, 36 characters (RFC 9562, section 5.4).
    pub fn uuid(&mut self) -> String {
        let high = (self.0.next_u64() & !0xf000) | 0x4000;
        let low = (self.0.next_u64() & !(0b11 << 62)) | (0b10 << 62);
        let mut text = String::with_capacity(36);
        for (word, start, digits) in [(high, 0, 8), (high, 8, 4), (high, 12, 4), (low, 0, 4), (low, 4, 12)] {
            if !text.is_empty() {
                text.push('-');
            }
            for digit in start..start + digits {
                let nibble = (word >> (60 - 4 * digit)) & 0xf;
                text.push(char::from(b"0123456789abcdef"[nibble as usize]));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_range_and_reach_both_ends() {
        let mut rng = SeededRng::new(1);
        let seen: std::collections::BTreeSet<u64> = (0..1000).map(|_| rng.between(3, 9)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), (3..=9).collect::<Vec<_>>());
    }

    #[test]
    fn weights_are_respected() {
        let mut rng = SeededRng::new(2);
        let mut counts = [0u32; 3];
        (0..10_000).for_each(|_| counts[rng.weighted(&[1, 0, 3])] += 1);
        assert_eq!(counts[1], 0);
        let four_sigma = 4.0 * (10_000.0 * 0.25 * 0.75f64).sqrt();
        assert!((f64::from(counts[0]) - 2500.0).abs() < four_sigma, "{counts:?}");
    }

    #[test]
    fn waits_have_the_mean_asked_for() {
        let mut rng = SeededRng::new(3);
        let total: u64 = (0..20_000).map(|_| rng.wait(1_000_000)).sum();
        let mean = total as f64 / 20_000.0;
        // The standard deviation of one wait is half-life * sqrt(2 + 1/12); the mean of 20,000 is within five standard
        // errors.
        let error = 5.0 * (2.0 / 3.0) * 1e6 * (2.0f64 + 1.0 / 12.0).sqrt() / 20_000f64.sqrt();
        assert!((mean - 1e6).abs() < error, "mean {mean}, allowed error {error}");
    }

    #[test]
    fn uuids_have_version_and_variant() {
        let mut rng = SeededRng::new(4);
        for _ in 0..100 {
            let id = rng.uuid();
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "4");
            assert!("89ab".contains(&id[19..20]), "{id}");
            assert!([8, 13, 18, 23].iter().all(|&i| &id[i..=i] == "-"), "{id}");
        }
    }

    #[test]
    fn a_sample_holds_distinct_places() {
        let mut sample = SeededRng::new(5).sample(40, 20);
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), 20);
        assert_eq!(SeededRng::new(5).sample(3, 20).len(), 3);
    }
}
