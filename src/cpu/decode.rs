//! Generation with a cache of keys and values.
//!
//! One function serves prompts and decoding: a *row* is one new token of one sequence, and every row attends to its
//! sequence's cache up to its own position. The last bits of the logits may differ between one row and several, which those of the
//! losses do not: a single row, the usual case of decoding, would pay for the fixed order of sums with a quarter of its speed.

use super::matrix::{Matrix, multiply_in_any_order};
use super::model::bias_of;
use super::real::{max_by, simd, sum_by};
use super::{Real, embedding, gelu, layernorm};
use crate::gpt::layout::{self, Block};
use crate::gpt::{Config, Layout};
use rayon::prelude::*;

/// Keys and values of `slots` sequences.
#[derive(Default)]
pub struct KvCache {
    /// Tokens held by each slot.
    pub lengths: Vec<usize>,
    layers: Vec<LayerCache>,
}

/// (slots, NH, context, HS) each.
struct LayerCache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// One new token: its slot and its position there.
#[derive(Clone, Copy)]
struct Row {
    slot: usize,
    position: usize,
}

impl KvCache {
    /// Bytes of a cache with this many slots.
    pub fn bytes(config: &Config, slots: usize) -> u64 {
        let numbers = [2, config.layers, slots, config.context, config.channels, size_of::<f32>()];
        numbers.iter().fold(1u64, |product, &factor| product.saturating_mul(factor as u64))
    }

    pub fn new(config: &Config, slots: usize) -> Self {
        let len = slots * config.context * config.channels;
        let layer = |_| LayerCache { keys: vec![0.0; len], values: vec![0.0; len] };
        KvCache { lengths: vec![0; slots], layers: (0..config.layers).map(layer).collect() }
    }
}

/// Appends each sequence's tokens to its slot; logits (sequences, V) after the last token of each.
pub fn extend(
    config: &Config,
    layout: &Layout,
    parameters: &[f32],
    cache: &mut KvCache,
    sequences: &[(usize, &[u32])],
    logits: &mut [f32],
) {
    let c = config.channels;
    let mut rows = Vec::new();
    let mut x = Vec::new();
    let mut last = Vec::new();
    let [token_table, position_table] =
        [&layout.token_embedding, &layout.position_embedding].map(|tensor| &parameters[tensor.range.clone()]);
    for &(slot, tokens) in sequences {
        assert!(!tokens.is_empty() && cache.lengths[slot] + tokens.len() <= config.context, "slot {slot} overflows");
        for &token in tokens {
            let position = cache.lengths[slot];
            rows.push(Row { slot, position });
            x.resize(rows.len() * c, 0.0);
            let at = (rows.len() - 1) * c;
            embedding::row(&mut x[at..], &token_table[token as usize * c..][..c], &position_table[position * c..][..c]);
            cache.lengths[slot] += 1;
        }
        last.push(rows.len() - 1);
    }
    for (block, cache) in layout.blocks.iter().zip(&mut cache.layers) {
        x = block_forward(config, block, parameters, cache, &rows, x);
    }
    let ends: Vec<f32> = last.iter().flat_map(|&row| x[row * c..(row + 1) * c].iter().copied()).collect();
    let ends = norm(&ends, &layout.norm_final, parameters);
    let head = Matrix::new(token_table, config.vocab, c);
    multiply_in_any_order(logits, false, Matrix::new(&ends, last.len(), c), head.t());
}

fn norm(x: &[f32], norm: &layout::Norm, parameters: &[f32]) -> Vec<f32> {
    let weight = &parameters[norm.weight.range.clone()];
    let n = x.len() / weight.len();
    let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; n], vec![0.0; n]);
    layernorm::forward(&mut y, &mut mean, &mut rstd, x, weight, bias_of(&norm.bias, parameters));
    y
}

fn apply(x: &[f32], linear: &layout::Linear, parameters: &[f32]) -> Vec<f32> {
    let [inputs, outputs] = [linear.weight.shape[0], linear.weight.shape[1]];
    let (weight, bias) = (&parameters[linear.weight.range.clone()], bias_of(&linear.bias, parameters));
    let n = x.len() / inputs;
    let mut y = bias.map_or_else(|| vec![0.0; n * outputs], |bias| bias.repeat(n));
    multiply_in_any_order(&mut y, true, Matrix::new(x, n, inputs), Matrix::new(weight, inputs, outputs));
    y
}

/// x (rows, C) through one block; keys and values of the rows enter the cache.
fn block_forward(
    config: &Config,
    block: &Block,
    parameters: &[f32],
    cache: &mut LayerCache,
    rows: &[Row],
    mut x: Vec<f32>,
) -> Vec<f32> {
    let qkv = apply(&norm(&x, &block.norm_1, parameters), &block.qkv, parameters);
    remember(config, cache, rows, &qkv);
    let attn_out = attend(config, cache, rows, &qkv);
    super::rows::add(&mut x, &apply(&attn_out, &block.attn_proj, parameters));
    let mlp_fc_out = apply(&norm(&x, &block.norm_2, parameters), &block.mlp_fc, parameters);
    let mut gelu_out = vec![0.0; mlp_fc_out.len()];
    gelu::forward(&mut gelu_out, &mlp_fc_out);
    super::rows::add(&mut x, &apply(&gelu_out, &block.mlp_proj, parameters));
    x
}

/// Start of a head's (context, HS) matrix in the cache.
fn head_start(config: &Config, slot: usize, head: usize) -> usize {
    (slot * config.heads + head) * config.context * config.head_size()
}

fn remember(config: &Config, cache: &mut LayerCache, rows: &[Row], qkv: &[f32]) {
    let (c, hs) = (config.channels, config.head_size());
    for (row, qkv) in rows.iter().zip(qkv.chunks_exact(3 * c)) {
        for head in 0..config.heads {
            let to = head_start(config, row.slot, head) + row.position * hs;
            cache.keys[to..to + hs].copy_from_slice(&qkv[c + head * hs..][..hs]);
            cache.values[to..to + hs].copy_from_slice(&qkv[2 * c + head * hs..][..hs]);
        }
    }
}

/// out (rows, C): each row's queries over its sequence's cache, up to its own position.
fn attend(config: &Config, cache: &LayerCache, rows: &[Row], qkv: &[f32]) -> Vec<f32> {
    let (c, hs) = (config.channels, config.head_size());
    let mut out = vec![0.0; rows.len() * c];
    out.par_chunks_exact_mut(hs).enumerate().for_each(|(task, out)| {
        let (row, head) = (task / config.heads, task % config.heads);
        let start = head_start(config, rows[row].slot, head);
        let seen = start..start + (rows[row].position + 1) * hs;
        let query = &qkv[row * 3 * c + head * hs..][..hs];
        simd(|| attend_one(out, query, &cache.keys[seen.clone()], &cache.values[seen]));
    });
    out
}

/// out (HS) = softmax(keys (n, HS) query (HS) / sqrt(HS)) values (n, HS).
#[inline(always)]
fn attend_one(out: &mut [f32], query: &[f32], keys: &[f32], values: &[f32]) {
    let hs = query.len();
    let scale = 1.0 / (hs as f32).sqrt();
    let mut weights: Vec<f32> = keys.chunks_exact(hs).map(|key| scale * sum_by(hs, |i| key[i] * query[i])).collect();
    let top = max_by(weights.len(), |i| weights[i]);
    weights.iter_mut().for_each(|weight| *weight = Real::exp(*weight - top));
    let sum = sum_by(weights.len(), |i| weights[i]);
    for (value, &weight) in values.chunks_exact(hs).zip(&weights) {
        for (out, &value) in out.iter_mut().zip(value) {
            *out += weight * value;
        }
    }
    out.iter_mut().for_each(|out| *out /= sum);
}
