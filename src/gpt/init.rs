//! Seeded initial parameters: a pure function of the layout and the seed, the same on every engine and machine.

use super::layout::{Init, Layout};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Fills the flat parameter buffer (`layout.len`) tensor by tensor in the order of the table.
pub fn parameters(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = vec![0.0; layout.len];
    for tensor in layout.tensors() {
        let values = &mut parameters[tensor.range.clone()];
        match tensor.init {
            Init::Zeros => values.fill(0.0),
            Init::Ones => values.fill(1.0),
            Init::Normal(std) => values.iter_mut().for_each(|value| *value = std * normal(&mut rng)),
        }
    }
    parameters
}

/// A standard normal draw by the Box-Muller transform (Box and Muller, 1958), in f64; the sine half is not used, which
/// keeps the draw a function of exactly two words of the stream.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * uniform(rng).ln()).sqrt();
    (radius * (std::f64::consts::TAU * uniform(rng)).cos()) as f32
}

/// Uniform in (0, 1]: never 0, so that its logarithm is finite.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::Config;

    #[test]
    fn moments_match_and_the_seed_decides() {
        let config = Config { layers: 2, heads: 2, channels: 64, context: 64, vocab: 300, bias: true };
        let layout = Layout::new(&config);
        let values = parameters(&layout, 7);
        assert_eq!(values, parameters(&layout, 7));
        assert_ne!(values, parameters(&layout, 8));
        for tensor in layout.tensors() {
            let part = &values[tensor.range.clone()];
            let n = part.len() as f64;
            let mean = part.iter().map(|&x| x as f64).sum::<f64>() / n;
            let variance = part.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
            let (want_mean, std) = match tensor.init {
                Init::Normal(std) => (0.0, std as f64),
                Init::Ones => (1.0, 0.0),
                Init::Zeros => (0.0, 0.0),
            };
            // Five standard errors of the mean and of the standard deviation of n normal draws.
            assert!((mean - want_mean).abs() <= 5.0 * std / n.sqrt(), "{} mean {mean}", tensor.name);
            assert!((variance.sqrt() - std).abs() <= 5.0 * std / (2.0 * n).sqrt(), "{} {variance}", tensor.name);
        }
    }
}
