//! A seeded permutation of 0..n that needs no table.

use super::splitmix::mix;

const ROUNDS: u64 = 6;

/// A balanced Feistel network over the smallest even number of bits that can hold n - 1, restricted to 0..n by cycle
/// walking.
///
/// Sources: Luby, Rackoff, "How to Construct Pseudorandom Permutations from Pseudorandom Functions", SIAM J. Comput. 1988;
/// Black, Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002 (cycle walking). On average the network is applied
/// fewer than four times, because its domain is smaller than 4 n.
pub(super) struct Permutation {
    n: u64,
    half_bits: u32,
    key: u64,
}

impl Permutation {
    /// A permutation of 0..n for n >= 1, different for each (seed, epoch).
    pub fn new(n: u64, seed: u64, epoch: u64) -> Self {
        assert!(n > 0);
        let bits = u64::BITS - (n - 1).leading_zeros();
        Self { n, half_bits: bits.div_ceil(2).max(1), key: mix(seed, epoch, 0x5045_524d) }
    }

    /// The i-th element.
    pub fn at(&self, i: u64) -> u64 {
        assert!(i < self.n);
        let mut x = self.network(i);
        while x >= self.n {
            x = self.network(x);
        }
        x
    }

    fn network(&self, x: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (x >> self.half_bits, x & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mix(self.key, round, right) & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_comes_once() {
        for n in [1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097] {
            let permutation = Permutation::new(n, 7, 3);
            let mut seen: Vec<u64> = (0..n).map(|i| permutation.at(i)).collect();
            assert!(n < 100 || seen.windows(2).filter(|w| w[1] == w[0] + 1).count() < n as usize / 10, "in order: {n}");
            seen.sort();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
        let huge = Permutation::new(u64::MAX, 1, 1);
        assert_ne!(huge.at(0), huge.at(1));
    }

    #[test]
    fn seeds_and_epochs_differ() {
        let order = |seed, epoch| (0..100).map(|i| Permutation::new(100, seed, epoch).at(i)).collect::<Vec<_>>();
        assert_eq!(order(1, 1), order(1, 1));
        assert_ne!(order(1, 1), order(2, 1));
        assert_ne!(order(1, 1), order(1, 2));
    }

    /// Over many seeds, an element takes all values about equally often (chi-square with 15 degrees of freedom, which
    /// exceeds 44.3 once in ten thousand).
    #[test]
    fn elements_are_uniform_over_seeds() {
        let mut counts = [0f64; 16];
        (0..1600).for_each(|seed| counts[Permutation::new(16, seed, 0).at(5) as usize] += 1.0);
        let chi: f64 = counts.iter().map(|c| (c - 100.0).powi(2) / 100.0).sum();
        assert!(chi < 44.3, "{chi}");
    }
}
