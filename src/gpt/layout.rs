//! THE parameter table: every tensor's name, shape, initialisation, weight decay and place in the flat buffers.
//!
//! Engines, checkpoints, AdamW and tests all derive from it. Names and shapes are Hugging Face GPT-2's: linear weights are
//! stored (in, out), as its `Conv1D` has them. Decayed tensors (the two-dimensional ones) come first in the flat buffers, so
//! that one pass over `[0, decayed)` and one over `[decayed, len)` update everything.

use super::Config;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Gaussian of mean 0 and this standard deviation.
    Normal(f32),
    Zeros,
    Ones,
}

/// One parameter tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Hugging Face name, e.g. `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// One or two dimensions, row-major.
    pub shape: Vec<usize>,
    pub init: Init,
    /// Place in the flat parameter, gradient and moment buffers, in elements.
    pub range: Range<usize>,
}

impl Tensor {
    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Two-dimensional tensors decay; weights of norms and biases do not (nanoGPT's rule).
    pub fn decays(&self) -> bool {
        self.shape.len() == 2
    }
}

/// LayerNorm: weight (C) and, with biases, bias (C).
#[derive(Clone, Debug)]
pub struct Norm {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

/// Linear layer: weight (in, out) and, with biases, bias (out).
#[derive(Clone, Debug)]
pub struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

#[derive(Clone, Debug)]
pub struct Block {
    pub norm_1: Norm,
    /// (C, 3C): queries, keys, values.
    pub qkv: Linear,
    /// (C, C)
    pub attn_proj: Linear,
    pub norm_2: Norm,
    /// (C, 4C)
    pub mlp_fc: Linear,
    /// (4C, C)
    pub mlp_proj: Linear,
}

#[derive(Clone, Debug)]
pub struct Layout {
    /// (V, C); also the output head.
    pub token_embedding: Tensor,
    /// (context, C)
    pub position_embedding: Tensor,
    pub blocks: Vec<Block>,
    pub norm_final: Norm,
    /// Elements of the leading, decayed tensors.
    pub decayed: usize,
    /// Elements of all tensors.
    pub len: usize,
}

/// Hands out tensors; offsets within the two groups are relative until `Layout::new` shifts the second group.
struct Builder {
    bias: bool,
    decayed: usize,
    plain: usize,
}

impl Builder {
    fn tensor(&mut self, name: String, shape: &[usize], init: Init) -> Tensor {
        let group = if shape.len() == 2 { &mut self.decayed } else { &mut self.plain };
        let start = *group;
        *group += shape.iter().product::<usize>();
        Tensor { name, shape: shape.to_vec(), init, range: start..*group }
    }

    fn norm(&mut self, name: &str, channels: usize) -> Norm {
        let weight = self.tensor(format!("{name}.weight"), &[channels], Init::Ones);
        let bias = self.bias.then(|| self.tensor(format!("{name}.bias"), &[channels], Init::Zeros));
        Norm { weight, bias }
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, std: f32) -> Linear {
        let weight = self.tensor(format!("{name}.weight"), &[inputs, outputs], Init::Normal(std));
        let bias = self.bias.then(|| self.tensor(format!("{name}.bias"), &[outputs], Init::Zeros));
        Linear { weight, bias }
    }

    /// GPT-2's initialisation: N(0, 0.02), the two projections into the residual stream scaled by 1/sqrt(2L).
    fn block(&mut self, layer: usize, config: &Config) -> Block {
        let (c, std) = (config.channels, 0.02);
        let residual_std = std / (2.0 * config.layers as f32).sqrt();
        let at = |part: &str| format!("transformer.h.{layer}.{part}");
        Block {
            norm_1: self.norm(&at("ln_1"), c),
            qkv: self.linear(&at("attn.c_attn"), c, 3 * c, std),
            attn_proj: self.linear(&at("attn.c_proj"), c, c, residual_std),
            norm_2: self.norm(&at("ln_2"), c),
            mlp_fc: self.linear(&at("mlp.c_fc"), c, 4 * c, std),
            mlp_proj: self.linear(&at("mlp.c_proj"), 4 * c, c, residual_std),
        }
    }
}

impl Layout {
    pub fn new(config: &Config) -> Self {
        let mut build = Builder { bias: config.bias, decayed: 0, plain: 0 };
        let (c, std) = (config.channels, 0.02);
        let token_embedding = build.tensor("transformer.wte.weight".into(), &[config.vocab, c], Init::Normal(std));
        let position_embedding = build.tensor("transformer.wpe.weight".into(), &[config.context, c], Init::Normal(std));
        let blocks = (0..config.layers).map(|layer| build.block(layer, config)).collect();
        let norm_final = build.norm("transformer.ln_f", c);
        let (decayed, len) = (build.decayed, build.decayed + build.plain);
        let mut layout = Layout { token_embedding, position_embedding, blocks, norm_final, decayed, len };
        for tensor in layout.tensors_mut().filter(|tensor| !tensor.decays()) {
            tensor.range = tensor.range.start + decayed..tensor.range.end + decayed;
        }
        layout
    }

    /// All tensors, in the order of the model.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let blocks = self.blocks.iter().flat_map(Block::tensors);
        [&self.token_embedding, &self.position_embedding].into_iter().chain(blocks).chain(self.norm_final.tensors())
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let blocks = self.blocks.iter_mut().flat_map(Block::tensors_mut);
        let embeddings = [&mut self.token_embedding, &mut self.position_embedding];
        embeddings.into_iter().chain(blocks).chain(self.norm_final.tensors_mut())
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors().find(|tensor| tensor.name == name)
    }
}

impl Block {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let Block { norm_1, qkv, attn_proj, norm_2, mlp_fc, mlp_proj } = self;
        let attention = norm_1.tensors().chain(qkv.tensors()).chain(attn_proj.tensors());
        attention.chain(norm_2.tensors()).chain(mlp_fc.tensors()).chain(mlp_proj.tensors())
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let Block { norm_1, qkv, attn_proj, norm_2, mlp_fc, mlp_proj } = self;
        let attention = norm_1.tensors_mut().chain(qkv.tensors_mut()).chain(attn_proj.tensors_mut());
        attention.chain(norm_2.tensors_mut()).chain(mlp_fc.tensors_mut()).chain(mlp_proj.tensors_mut())
    }
}

impl Norm {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.weight).chain(&self.bias)
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }
}

impl Linear {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.weight).chain(&self.bias)
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bias: bool) -> Config {
        Config { layers: 3, heads: 2, channels: 16, context: 8, vocab: 11, bias }
    }

    #[test]
    fn ranges_tile_the_buffer_decayed_first() {
        for bias in [false, true] {
            let layout = Layout::new(&config(bias));
            let mut tensors: Vec<_> = layout.tensors().collect();
            tensors.sort_by_key(|tensor| tensor.range.start);
            let mut end = 0;
            for tensor in tensors {
                assert_eq!(tensor.range.start, end, "{}", tensor.name);
                assert_eq!(tensor.decays(), tensor.range.end <= layout.decayed, "{}", tensor.name);
                end = tensor.range.end;
            }
            assert_eq!(end, layout.len);
        }
    }

    #[test]
    fn gpt2_has_its_published_size() {
        let gpt2 = Config { layers: 12, heads: 12, channels: 768, context: 1024, vocab: 50257, bias: true };
        assert_eq!(Layout::new(&gpt2).len, 124_439_808);
    }
}
