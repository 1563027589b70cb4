//! What the forward pass leaves for the backward pass, and what both need besides.

use super::parameters;
use crate::Result;
use crate::cuda::device::allocator::Allocator;
use crate::cuda::device::memory::{Buffer, View, ViewMut};
use crate::cuda::ops::layernorm::Normed;
use crate::gpt::Config;
use half::bf16;
use std::sync::Arc;

/// How much of the forward pass is kept; the rest is computed again where the backward pass needs it. Each level saves the
/// memory of the one before and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Recompute {
    /// Everything is kept.
    #[default]
    Nothing,
    /// GELU outputs, 4C a token and layer, are not kept.
    Gelu,
    /// Nor are LayerNorm outputs, 2C a token and layer.
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

/// A buffer that several blocks may own together.
type Shared<T> = Arc<Buffer<T>>;

/// Output (N, C) and statistics (N) of a LayerNorm.
#[derive(Clone)]
struct NormBuffers {
    y: Shared<bf16>,
    mean: Shared<f32>,
    rstd: Shared<f32>,
}

/// One block, for up to N rows. What a block does not keep for itself it shares with the others.
#[derive(Clone)]
struct BlockBuffers {
    norm_1: NormBuffers,
    qkv: Shared<bf16>,
    lse: Shared<f32>,
    attn_out: Shared<bf16>,
    residual_mid: Shared<bf16>,
    norm_2: NormBuffers,
    mlp_fc_out: Shared<bf16>,
    gelu_out: Shared<bf16>,
    out: Shared<bf16>,
}

/// The buffers of one block, for n rows.
#[derive(Clone, Copy)]
pub struct BlockActivations<'a> {
    pub norm_1: Normed<'a>,              // (n, C)
    pub qkv: ViewMut<'a, bf16>,          // (n, 3, NH, HS)
    pub lse: ViewMut<'a, f32>,           // (B, NH, T)
    pub attn_out: ViewMut<'a, bf16>,     // (n, C)
    pub residual_mid: ViewMut<'a, bf16>, // (n, C): residual stream after attention
    pub norm_2: Normed<'a>,              // (n, C)
    pub mlp_fc_out: ViewMut<'a, bf16>,   // (n, 4C): before GELU
    pub gelu_out: ViewMut<'a, bf16>,     // (n, 4C): after GELU
    pub out: ViewMut<'a, bf16>,          // (n, C): residual stream after the block
}

pub struct Activations {
    pub purpose: Purpose,
    /// Rows there is room for: N.
    pub rows: usize,
    tokens: Buffer<u32>,    // (N)
    positions: Buffer<u32>, // (N)
    /// T that `positions` count for.
    positions_of: Option<usize>,
    targets: Buffer<u32>,   // (N)
    losses: Buffer<f32>,    // (N)
    embedded: Buffer<bf16>, // (N, C): input of the first block
    blocks: Vec<BlockBuffers>,
    norm_final: NormBuffers,
    /// (N, C): what a block's half adds to the residual stream.
    sublayer_out: Buffer<bf16>,
    /// (piece, Vp): see [`head_rows`].
    logits: Buffer<bf16>,
    channels: usize,
    heads: usize,
}

/// Most logits held at once, in elements: half a gigabyte. The head runs over pieces of rows.
const LOGITS: usize = 1 << 28;

/// Rows that a piece of logits covers, of `rows`.
pub fn head_rows(rows: usize, config: &Config) -> usize {
    (LOGITS / parameters::padded(config).vocab).clamp(1, rows)
}

impl NormBuffers {
    /// `y` where it is shared.
    fn allocate(allocator: &mut Allocator, y: Option<&Shared<bf16>>, rows: usize, c: usize) -> Result<Self> {
        Ok(NormBuffers {
            y: shared_or_new(allocator, y, rows * c)?,
            mean: allocator.buffer(rows)?.into(),
            rstd: allocator.buffer(rows)?.into(),
        })
    }

    fn first(&self, n: usize, c: usize) -> Normed<'_> {
        Normed {
            y: self.y.view_mut().first(n * c),
            mean: self.mean.view_mut().first(n),
            rstd: self.rstd.view_mut().first(n),
        }
    }
}

fn shared_or_new(allocator: &mut Allocator, shared: Option<&Shared<bf16>>, len: usize) -> Result<Shared<bf16>> {
    shared.map_or_else(|| Ok(allocator.buffer(len)?.into()), |shared| Ok(shared.clone()))
}

impl BlockBuffers {
    /// A block's own buffers; `gelu_out` and `normed` where these are shared.
    fn allocate(
        allocator: &mut Allocator,
        config: &Config,
        rows: usize,
        gelu_out: Option<&Shared<bf16>>,
        normed: Option<&Shared<bf16>>,
    ) -> Result<Self> {
        let c = config.channels;
        Ok(BlockBuffers {
            norm_1: NormBuffers::allocate(allocator, normed, rows, c)?,
            qkv: allocator.buffer(rows * 3 * c)?.into(),
            lse: allocator.buffer(rows * config.heads)?.into(),
            attn_out: allocator.buffer(rows * c)?.into(),
            residual_mid: allocator.buffer(rows * c)?.into(),
            norm_2: NormBuffers::allocate(allocator, normed, rows, c)?,
            mlp_fc_out: allocator.buffer(rows * 4 * c)?.into(),
            gelu_out: shared_or_new(allocator, gelu_out, rows * 4 * c)?,
            out: allocator.buffer(rows * c)?.into(),
        })
    }

    /// Those of all blocks.
    fn of_blocks(allocator: &mut Allocator, config: &Config, rows: usize, purpose: Purpose) -> Result<Vec<Self>> {
        let c = config.channels;
        let layers = 0..config.layers;
        match purpose {
            Purpose::Inference => {
                let shared = BlockBuffers::allocate(allocator, config, rows, None, None)?;
                Ok(vec![shared; config.layers])
            }
            Purpose::Training(Recompute::Blocks) => {
                let shared = BlockBuffers::allocate(allocator, config, rows, None, None)?;
                let mut own_out = || Ok(BlockBuffers { out: allocator.buffer(rows * c)?.into(), ..shared.clone() });
                layers.map(|_| own_out()).collect()
            }
            Purpose::Training(level) => {
                let mut shared = |from: Recompute, len: usize| -> Result<Option<Shared<bf16>>> {
                    (level >= from).then(|| Ok(allocator.buffer(len)?.into())).transpose()
                };
                let gelu_out = shared(Recompute::Gelu, rows * 4 * c)?;
                let normed = shared(Recompute::Norms, rows * c)?;
                let mut block = || Self::allocate(allocator, config, rows, gelu_out.as_ref(), normed.as_ref());
                layers.map(|_| block()).collect()
            }
        }
    }
}

impl Activations {
    /// `piece`: rows whose logits are held at once, as [`head_rows`] says or fewer.
    pub fn allocate(
        allocator: &mut Allocator,
        config: &Config,
        rows: usize,
        purpose: Purpose,
        piece: usize,
    ) -> Result<Self> {
        let Config { channels, heads, .. } = *config;
        Ok(Activations {
            purpose,
            rows,
            tokens: allocator.buffer(rows)?,
            positions: allocator.buffer(rows)?,
            positions_of: None,
            targets: allocator.buffer(rows)?,
            losses: allocator.buffer(rows)?,
            embedded: allocator.buffer(rows * channels)?,
            blocks: BlockBuffers::of_blocks(allocator, config, rows, purpose)?,
            norm_final: NormBuffers::allocate(allocator, None, rows, channels)?,
            sublayer_out: allocator.buffer(rows * channels)?,
            logits: allocator.buffer(piece * parameters::padded(config).vocab)?,
            channels,
            heads,
        })
    }

    /// Uploads tokens of sequences of `seq_len`, and the positions where these have changed.
    pub fn upload_tokens(&mut self, tokens: &[u32], seq_len: usize) -> Result<()> {
        if self.positions_of != Some(seq_len) {
            let positions: Vec<u32> = (0..self.rows).map(|row| (row % seq_len) as u32).collect();
            self.positions_of = None;
            self.positions.view_mut().upload(&positions)?;
            self.positions_of = Some(seq_len);
        }
        self.tokens.view_mut().first(tokens.len()).upload(tokens)
    }

    pub fn upload_targets(&self, targets: &[u32]) -> Result<()> {
        self.targets.view_mut().first(targets.len()).upload(targets)
    }

    /// (n)
    pub fn tokens(&self, n: usize) -> View<'_, u32> {
        self.tokens.view().first(n)
    }

    /// (n)
    pub fn positions(&self, n: usize) -> View<'_, u32> {
        self.positions.view().first(n)
    }

    /// (n)
    pub fn targets(&self, n: usize) -> View<'_, u32> {
        self.targets.view().first(n)
    }

    /// (n)
    pub fn losses(&self, n: usize) -> ViewMut<'_, f32> {
        self.losses.view_mut().first(n)
    }

    /// (n, C): residual stream before block `layer`; before the final norm for `layer` = L.
    pub fn input(&self, layer: usize, n: usize) -> ViewMut<'_, bf16> {
        let buffer = match layer {
            0 => &self.embedded,
            _ => &*self.blocks[layer - 1].out,
        };
        buffer.view_mut().first(n * self.channels)
    }

    pub fn block(&self, layer: usize, n: usize) -> BlockActivations<'_> {
        let (block, c) = (&self.blocks[layer], self.channels);
        BlockActivations {
            norm_1: block.norm_1.first(n, c),
            qkv: block.qkv.view_mut().first(n * 3 * c),
            lse: block.lse.view_mut().first(n * self.heads),
            attn_out: block.attn_out.view_mut().first(n * c),
            residual_mid: block.residual_mid.view_mut().first(n * c),
            norm_2: block.norm_2.first(n, c),
            mlp_fc_out: block.mlp_fc_out.view_mut().first(n * 4 * c),
            gelu_out: block.gelu_out.view_mut().first(n * 4 * c),
            out: block.out.view_mut().first(n * c),
        }
    }

    pub fn norm_final(&self, n: usize) -> Normed<'_> {
        self.norm_final.first(n, self.channels)
    }

    /// (n, C)
    pub fn sublayer_out(&self, n: usize) -> ViewMut<'_, bf16> {
        self.sublayer_out.view_mut().first(n * self.channels)
    }

    /// (piece, Vp)
    pub fn logits(&self) -> ViewMut<'_, bf16> {
        self.logits.view_mut()
    }
}
