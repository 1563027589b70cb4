//! What training must compute, by the two formulas in use.

use super::{Config, Layout};

/// Training FLOPs a token: forward and backward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flops {
    /// 6 N + 12 L C T with N the parameters less position embeddings: nanoGPT's `estimate_mfu`, after PaLM (Chowdhery et
    /// al., 2022, appendix B).
    pub nanogpt: f64,
    /// 6 N + 6 L C T: a query sees half of the keys on average.
    pub causal: f64,
}

impl Flops {
    pub fn per_token(config: &Config) -> Self {
        let layout = Layout::new(config);
        let weights = 6.0 * (layout.len - layout.position_embedding.len()) as f64;
        let attention = 6.0 * (config.layers * config.channels * config.context) as f64;
        Flops { nanogpt: weights + 2.0 * attention, causal: weights + attention }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flops_of_gpt2_by_hand() {
        let gpt2 = Config { layers: 12, heads: 12, channels: 768, context: 1024, vocab: 50257, bias: true };
        let flops = Flops::per_token(&gpt2);
        assert_eq!(flops.nanogpt, 6.0 * (124_439_808.0 - 786_432.0) + 12.0 * 12.0 * 768.0 * 1024.0);
        assert_eq!(flops.nanogpt - flops.causal, 6.0 * 12.0 * 768.0 * 1024.0);
    }
}
