//! Seeded random numbers, and samples of streams.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Uniform random integers, determined by a seed.
pub struct IndexRng(ChaCha8Rng);

impl IndexRng {
    pub fn new(seed: u64) -> Self {
        IndexRng(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number in `0..n`: the high half of a 64 x 64-bit product, with a bias below n / 2^64.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }
}

/// A uniform sample of a stream of unknown length (Vitter, "Random sampling with a reservoir", 1985, algorithm R).
pub struct Reservoir<T> {
    limit: usize,
    seen: usize,
    kept: Vec<(usize, T)>,
    draws: IndexRng,
}

impl<T> Reservoir<T> {
    pub fn new(limit: usize, seed: u64) -> Self {
        Self { limit, seen: 0, kept: Vec::new(), draws: IndexRng::new(seed) }
    }

    /// Offers the next item, which is only created if it is kept.
    pub fn offer(&mut self, item: impl FnOnce() -> T) {
        if self.kept.len() < self.limit {
            self.kept.push((self.seen, item()));
        } else if let Some(place) = self.kept.get_mut(self.draws.below(self.seen + 1)) {
            *place = (self.seen, item());
        }
        self.seen += 1;
    }

    /// The sample, in the order of the stream.
    pub fn into_sample(mut self) -> Vec<T> {
        self.kept.sort_unstable_by_key(|(place, _)| *place);
        self.kept.into_iter().map(|(_, item)| item).collect()
    }
}

/// At most `limit` of the items, drawn with the seed, in their order.
pub fn thin<T: Clone>(items: &[T], limit: usize, seed: u64) -> Vec<T> {
    let mut reservoir = Reservoir::new(limit, seed);
    items.iter().for_each(|item| reservoir.offer(|| item.clone()));
    reservoir.into_sample()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_uniform_and_in_order() {
        let mut hits = [0; 20];
        for seed in 0..2000 {
            let sample = thin(&(0..20).collect::<Vec<usize>>(), 5, seed);
            assert!(sample.len() == 5 && sample.is_sorted());
            sample.iter().for_each(|&item| hits[item] += 1);
        }
        // 500 expected of each, with a standard deviation of 19.
        assert!(hits.iter().all(|hit| (400..600).contains(hit)), "{hits:?}");
        assert_eq!(thin(&[1, 2], 5, 0), [1, 2]);
    }
}
