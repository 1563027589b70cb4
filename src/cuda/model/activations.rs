//! What the forward pass leaves for the backward pass, and what both need besides.

use super::weights;
use crate::Result;
use crate::cuda::device::arena::Arena;
use crate::cuda::device::seam::Span;
use crate::cuda::ops::attention;
use crate::cuda::ops::bias;
use crate::cuda::ops::layernorm::{self, Normed};
use crate::gpt::Config;
use half::bf16;

/// How much of the forward pass is kept; the rest is computed again where the backward pass needs it. Each level saves the
/// memory of the one before and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Recompute {
    /// Everything is kept.
    #[default]
    Nothing,
    /// GELU outputs, 4C a token and layer, are not.
    Gelu,
    /// Nor LayerNorm outputs, 2C a token and layer.
    Norms,
    /// Only the residual stream, C a token and layer, is kept: every block runs forward twice.
    Blocks,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Losses and logits only: all blocks share their buffers.
    Inference,
    Training(Recompute),
}

/// One block, for N rows.
#[derive(Clone, Copy)]
pub struct BlockActivations {
    pub norm_1: Normed,
    pub qkv: Span<bf16>,          // (N, 3, NH, HS)
    pub lse: Span<f32>,           // (B, NH, T)
    pub attn_out: Span<bf16>,     // (N, C)
    pub residual_mid: Span<bf16>, // (N, C): residual stream after attention
    pub norm_2: Normed,           // (N, C)
    pub mlp_fc_out: Span<bf16>,   // (N, 4C): before GELU
    pub gelu_out: Span<bf16>,     // (N, 4C): after GELU
    pub out: Span<bf16>,          // (N, C): residual stream after the block
}

pub struct Activations {
    pub purpose: Purpose,
    /// Rows there is room for.
    pub rows: usize,
    pub tokens: Span<u32>,    // (N)
    pub positions: Span<u32>, // (N)
    pub targets: Span<u32>,   // (N)
    pub losses: Span<f32>,    // (N)
    pub embedded: Span<bf16>, // (N, C): input of the first block
    pub blocks: Vec<BlockActivations>,
    pub norm_final: Normed,
    /// (N, C): what a block's half adds to the residual stream.
    pub sublayer_out: Span<bf16>,
    /// (piece, Vp): see [`head_rows`].
    pub logits: Span<bf16>,
}

/// Gradients of activations, reused by every block, and scratch.
pub struct BackwardBuffers {
    pub residual: Span<bf16>, // (N, C)
    pub d_ln: Span<bf16>,     // (N, C)
    pub wide: Span<bf16>,     // (N, 4C): of the mlp_fc_out rows, and its first 3/4 of qkv
    pub attention: Span<f32>, // scratch
    pub partials: Span<f32>,  // scratch of column sums
    pub order: Span<u32>,     // (N): rows sorted by token
    pub starts: Span<u32>,    // (Vp + 1): where each token's rows start in `order`
    pub scale: Span<f32>,     // (1)
}

/// Most logits held at once, in elements: half a gigabyte. The head runs over pieces of rows.
const LOGITS: usize = 1 << 28;

/// Rows that a piece of logits covers, of `rows`.
pub fn head_rows(rows: usize, config: &Config) -> usize {
    (LOGITS / weights::padded(config).vocab).clamp(1, rows)
}

fn take_norm(arena: &mut Arena, y: Option<Span<bf16>>, rows: usize, c: usize) -> Result<Normed> {
    let y = y.map_or_else(|| arena.take(rows * c), Ok)?;
    Ok(Normed { y, mean: arena.take(rows)?, rstd: arena.take(rows)? })
}

/// A block's own buffers; `gelu_out` and `normed` where these are shared.
fn take_block(
    arena: &mut Arena,
    config: &Config,
    rows: usize,
    gelu_out: Option<Span<bf16>>,
    normed: Option<Span<bf16>>,
) -> Result<BlockActivations> {
    let c = config.channels;
    Ok(BlockActivations {
        norm_1: take_norm(arena, normed, rows, c)?,
        qkv: arena.take(rows * 3 * c)?,
        lse: arena.take(rows * config.heads)?,
        attn_out: arena.take(rows * c)?,
        residual_mid: arena.take(rows * c)?,
        norm_2: take_norm(arena, normed, rows, c)?,
        mlp_fc_out: arena.take(rows * 4 * c)?,
        gelu_out: gelu_out.map_or_else(|| arena.take(rows * 4 * c), Ok)?,
        out: arena.take(rows * c)?,
    })
}

fn take_blocks(arena: &mut Arena, config: &Config, rows: usize, purpose: Purpose) -> Result<Vec<BlockActivations>> {
    let c = config.channels;
    let layers = 0..config.layers;
    match purpose {
        Purpose::Inference => {
            let shared = take_block(arena, config, rows, None, None)?;
            Ok(vec![shared; config.layers])
        }
        Purpose::Training(Recompute::Blocks) => {
            let shared = take_block(arena, config, rows, None, None)?;
            layers.map(|_| Ok(BlockActivations { out: arena.take(rows * c)?, ..shared })).collect()
        }
        Purpose::Training(level) => {
            let gelu_out = (level >= Recompute::Gelu).then(|| arena.take(rows * 4 * c)).transpose()?;
            let normed = (level >= Recompute::Norms).then(|| arena.take(rows * c)).transpose()?;
            layers.map(|_| take_block(arena, config, rows, gelu_out, normed)).collect()
        }
    }
}

impl Activations {
    /// `piece`: rows whose logits are held at once, as [`head_rows`] says or fewer.
    pub fn take(arena: &mut Arena, config: &Config, rows: usize, purpose: Purpose, piece: usize) -> Result<Self> {
        let c = config.channels;
        Ok(Activations {
            purpose,
            rows,
            tokens: arena.take(rows)?,
            positions: arena.take(rows)?,
            targets: arena.take(rows)?,
            losses: arena.take(rows)?,
            embedded: arena.take(rows * c)?,
            blocks: take_blocks(arena, config, rows, purpose)?,
            norm_final: take_norm(arena, None, rows, c)?,
            sublayer_out: arena.take(rows * c)?,
            logits: arena.take(piece * weights::padded(config).vocab)?,
        })
    }

    /// Input of block `layer`; of the final norm for `layer` = L.
    pub fn input(&self, layer: usize) -> Span<bf16> {
        match layer {
            0 => self.embedded,
            _ => self.blocks[layer - 1].out,
        }
    }
}

impl BackwardBuffers {
    /// For up to `rows` rows in sequences of `seq_len`.
    pub fn take(arena: &mut Arena, config: &Config, rows: usize, seq_len: usize) -> Result<Self> {
        let (c, vocab) = (config.channels, weights::padded(config).vocab);
        let partials = layernorm::partials(rows, c).max(bias::partials(rows, 4 * c));
        let (heads, head_size) = (config.heads, config.head_size());
        let shape = attention::Shape { batch: rows.div_ceil(seq_len), seq_len, heads, head_size };
        Ok(BackwardBuffers {
            residual: arena.take(rows * c)?,
            d_ln: arena.take(rows * c)?,
            wide: arena.take(rows * 4 * c)?,
            attention: arena.take(attention::scratch(shape))?,
            partials: arena.take(partials)?,
            order: arena.take(rows)?,
            starts: arena.take(vocab + 1)?,
            scale: arena.take(1)?,
        })
    }
}
