//! The shape of a GPT-2, and its Hugging Face `config.json`.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The shape of the model. The letters in brackets are the ones used beside every buffer of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Transformer blocks (L).
    pub layers: usize,
    /// Attention heads (NH); must divide `channels`.
    pub heads: usize,
    /// Width of the residual stream (C).
    pub channels: usize,
    /// Longest sequence the learned positions reach (T at most this).
    pub context: usize,
    /// Tokens in the vocabulary (V).
    pub vocab: usize,
    /// Whether linear layers and LayerNorms carry biases.
    pub bias: bool,
}

/// LayerNorm's epsilon, as in GPT-2.
pub const LAYERNORM_EPSILON: f64 = 1e-5;

/// Largest channels, context and vocabulary.
pub const MOST: usize = 1 << 24;

/// Most layers: the table of the parameters has a dozen rows for each.
pub const MOST_LAYERS: usize = 1 << 14;

/// Most parameters, a hundred times those of the largest models. So no count of bytes overflows.
const MOST_PARAMETERS: u128 = 1 << 44;

impl Config {
    pub fn head_size(&self) -> usize {
        self.channels / self.heads
    }

    /// Checks what both engines rely on; the error names the setting at fault.
    pub fn check(&self) -> Result<()> {
        let Config { layers, heads, channels, context, vocab, .. } = *self;
        for (name, value) in [("layers", layers), ("heads", heads), ("channels", channels), ("context", context)] {
            if value == 0 {
                return Err(Error::usage(format!("{name} must be at least 1, found 0")));
            }
        }
        // A damaged config.json must not ask for all memory; no real model comes near.
        let limits = [
            ("layers", layers, MOST_LAYERS),
            ("channels", channels, MOST),
            ("context", context, MOST),
            ("vocab", vocab, MOST),
        ];
        for (name, value, most) in limits {
            if value > most {
                return Err(Error::usage(format!("{name} must be at most {most}, found {value}")));
            }
        }
        if vocab < 2 {
            return Err(Error::usage(format!(
                "a vocabulary of {vocab} leaves nothing to predict; at least 2 are needed"
            )));
        }
        if channels % heads != 0 {
            return Err(Error::usage(format!("channels ({channels}) must be a multiple of heads ({heads})")));
        }
        let size = self.head_size();
        if !size.is_multiple_of(8) || size > 128 {
            return Err(Error::usage(format!(
                "head size is channels / heads = {size}; it must be a multiple of 8 and at most 128"
            )));
        }
        let parameters = self.parameters();
        if parameters > MOST_PARAMETERS {
            return Err(Error::usage(format!(
                "layers, channels, context and vocabulary together ask for {parameters} parameters; at most {MOST_PARAMETERS} are \
                 possible"
            )));
        }
        Ok(())
    }

    /// The number of parameters, biases included, without making the table of them.
    fn parameters(&self) -> u128 {
        let [layers, channels, context, vocab] =
            [self.layers, self.channels, self.context, self.vocab].map(|size| size as u128);
        (vocab + context + 2) * channels + layers * (12 * channels + 13) * channels
    }

    /// Hugging Face `config.json` of a `GPT2LMHeadModel`. The extra key `bias` says that bias tensors are absent here
    /// (they are written as zeros, since that class always has them).
    pub fn to_hf(&self, separator: u32) -> Value {
        json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            "n_layer": self.layers, "n_head": self.heads, "n_embd": self.channels,
            "n_positions": self.context, "n_ctx": self.context, "vocab_size": self.vocab,
            "bias": self.bias,
            "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
            "layer_norm_epsilon": LAYERNORM_EPSILON,
            "tie_word_embeddings": true,
            "bos_token_id": separator, "eos_token_id": separator,
            "torch_dtype": "float32",
        })
    }

    /// Hugging Face `generation_config.json`: one record, sampled as `logwright generate` samples it. Records begin behind the
    /// separator and end with it.
    pub fn generation_to_hf(&self, separator: u32) -> Value {
        json!({
            "max_length": self.context,
            "bos_token_id": separator, "eos_token_id": separator, "pad_token_id": separator,
            "do_sample": true, "temperature": 0.8, "top_k": 0, "top_p": 1.0,
        })
    }

    /// Reads a Hugging Face `config.json`. A GPT-2 that differs from this engine's (another activation, untied head, scaled
    /// attention) is refused by name rather than computed wrongly.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let number = |key: &str| {
            config[key].as_u64().map(|n| n as usize).ok_or_else(|| Error::failed(format!("no number under \"{key}\"")))
        };
        let expect = |key: &str, wanted: Value| match config.get(key) {
            Some(found) if *found != wanted => {
                Err(Error::failed(format!("\"{key}\" is {found}; this engine computes {wanted} only")))
            }
            _ => Ok(()),
        };
        expect("model_type", json!("gpt2"))?;
        expect("activation_function", json!("gelu_new"))?;
        expect("tie_word_embeddings", json!(true))?;
        expect("scale_attn_weights", json!(true))?;
        expect("scale_attn_by_inverse_layer_idx", json!(false))?;
        expect("add_cross_attention", json!(false))?;
        expect("layer_norm_epsilon", json!(LAYERNORM_EPSILON))?;
        let inner = &config["n_inner"];
        if !inner.is_null() && inner.as_u64() != config["n_embd"].as_u64().and_then(|channels| channels.checked_mul(4))
        {
            return Err(Error::failed(format!("\"n_inner\" is {inner}; this engine computes 4 x n_embd only")));
        }
        let bias = match &config["bias"] {
            Value::Null => true,
            Value::Bool(bias) => *bias,
            other => return Err(Error::failed(format!("\"bias\" is {other}; expected true or false"))),
        };
        let read = Config {
            layers: number("n_layer")?,
            heads: number("n_head")?,
            channels: number("n_embd")?,
            context: number("n_positions")?,
            vocab: number("vocab_size")?,
            bias,
        };
        read.check()?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Config = Config { layers: 2, heads: 2, channels: 16, context: 8, vocab: 11, bias: false };

    #[test]
    fn hugging_face_config_round_trips() {
        assert_eq!(Config::from_hf(&TINY.to_hf(0)).unwrap(), TINY);
    }

    #[test]
    fn another_activation_is_refused_by_name() {
        let mut config = TINY.to_hf(0);
        config["activation_function"] = json!("relu");
        let message = Config::from_hf(&config).unwrap_err().to_string();
        assert!(message.contains("activation_function") && message.contains("relu"), "{message}");
    }

    #[test]
    fn no_size_overflows() {
        let most =
            Config { layers: MOST_LAYERS, heads: MOST / 128, channels: MOST, context: MOST, vocab: MOST, bias: true };
        for (config, part) in [
            (most, "parameters"),
            (Config { layers: usize::MAX, ..TINY }, "layers"),
            (Config { vocab: usize::MAX, ..TINY }, "vocab"),
        ] {
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let gpt2 = Config { layers: 12, heads: 12, channels: 768, context: 1024, vocab: 50257, bias: true };
        assert_eq!(gpt2.parameters(), crate::gpt::Layout::new(&gpt2).len as u128);
    }

    #[test]
    fn head_size_must_suit_the_kernels() {
        for (heads, channels) in [(3, 16), (4, 16), (1, 256)] {
            assert!(Config { heads, channels, ..TINY }.check().is_err(), "{heads} heads, {channels} channels");
        }
    }
}
