//! The roofline on paper: what every operation of a step must compute and move, and how fast a GPU could do it
//! (Williams, Waterman and Patterson, 2009: the larger of FLOPs / peak and bytes / bandwidth is a floor of the time).
//!
//! Bytes are the compulsory ones: each operand is read once, each result written once. Those of a kernel come from the
//! head of its source (see [`floors`]), those of a product from its shape.

use super::floors::{self, Floor};
use super::peaks::Peaks;
use crate::cuda::model::activations::{Recompute, head_rows};
use crate::cuda::model::attention::AttentionKernels;
use crate::cuda::model::new_rows;
use crate::cuda::model::parameters::padded;
use crate::cuda::ops::{attention_hopper, cross_entropy};
use crate::gpt::{Config, Layout};

/// One row of the table: all operations of one name in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The kernel's name, or the product's [`crate::cuda::device::gemm::GemmCall::label`].
    pub name: String,
    /// Calls per step.
    pub count: usize,
    /// FLOPs of all calls together.
    pub flops: f64,
    /// Bytes that all calls together move.
    pub bytes: f64,
}

impl Operation {
    /// The least number of seconds that the card needs.
    pub fn floor(&self, card: &Peaks) -> f64 {
        (self.flops / (card.tflops * 1e12)).max(self.bytes / (card.bandwidth * 1e9))
    }

    /// Whether arithmetic or memory bounds the time on the card.
    pub fn bound(&self, card: &Peaks) -> &'static str {
        if self.flops / (card.tflops * 1e12) > self.bytes / (card.bandwidth * 1e9) { "compute" } else { "memory" }
    }
}

/// Sizes that most operations of a step share.
struct Sizes {
    layers: usize,
    n: usize,
    c: usize,
    vocab: usize,
    bias: bool,
}

/// Collects operations by name.
#[derive(Default)]
struct OperationList(Vec<Operation>);

impl OperationList {
    fn add(&mut self, name: String, count: usize, flops: f64, bytes: f64) {
        let (flops, bytes) = (count as f64 * flops, count as f64 * bytes);
        match self.0.iter_mut().find(|operation| operation.name == name) {
            Some(operation) => {
                operation.count += count;
                operation.flops += flops;
                operation.bytes += bytes;
            }
            None => self.0.push(Operation { name, count, flops, bytes }),
        }
    }

    fn kernel(&mut self, count: usize, floor: impl Floor) {
        self.add(floor.kernel(), count, floor.flops(), floor.bytes());
    }

    /// Adds a product that moves `more` bytes besides its operands and its result.
    fn gemm(&mut self, count: usize, [m, n, k]: [usize; 3], epilogue: &str, more: f64) {
        let [mf, nf, kf] = [m, n, k].map(|x| x as f64);
        let result = if epilogue == " +=" { 8.0 } else { 2.0 };
        let bytes = 2.0 * (mf * kf + kf * nf) + result * mf * nf + more;
        self.add(format!("gemm {m}x{n}x{k}{epilogue}"), count, 2.0 * mf * nf * kf, bytes);
    }
}

/// Operations of one micro-batch, forward and backward, and of one update; with everything kept and GELU in the
/// products.
pub fn step(config: &Config, batch: usize, seq_len: usize, kernels: AttentionKernels) -> Vec<Operation> {
    let Config { layers, channels: c, bias, .. } = *config;
    let sizes = Sizes { layers, n: batch * seq_len, c, vocab: padded(config).vocab, bias };
    let mut list = OperationList::default();
    blocks_forward(&mut list, &sizes);
    attention(&mut list, config, batch, seq_len, kernels);
    head(&mut list, &sizes, config);
    blocks_backward(&mut list, &sizes);
    embeddings(&mut list, &sizes, batch, seq_len);
    update(&mut list, Layout::new(&padded(config)).len);
    list.0
}

/// Operations of one token for each of `slots` sequences whose context is full but for it, drawn on the device.
pub fn token(config: &Config, slots: usize) -> Vec<Operation> {
    let Config { layers, heads: nh, channels: c, context, bias, .. } = *config;
    let sizes = Sizes { layers, n: new_rows::padded(slots), c, vocab: padded(config).vocab, bias };
    let Sizes { n, vocab, .. } = sizes;
    let (r, hs, seen) = (slots, config.head_size(), context);
    let mut list = OperationList::default();
    list.kernel(1, floors::EmbeddingForward { n, c, tokens: vocab.min(n), positions: n });
    blocks_forward(&mut list, &sizes);
    list.kernel(layers, floors::DecodeAppend { r, nh, hs });
    list.kernel(layers, floors::DecodeAttend { r, nh, hs, seen });
    list.kernel(layers, floors::DecodeCombine { r, nh, hs });
    list.kernel(1, floors::DecodeGather { r, c });
    list.gemm(1, [slots, vocab, c], "", 0.0);
    list.kernel(1, floors::SamplingDraw { r, stride: vocab });
    list.0
}

fn blocks_forward(list: &mut OperationList, sizes: &Sizes) {
    let Sizes { layers, n, c, bias, .. } = *sizes;
    let (plain, gelu) = if bias { (" bias", " bias gelu") } else { ("", " gelu") };
    list.kernel(1, floors::LayernormForward { n, c });
    list.kernel(2 * layers, floors::ResidualLayernormForward { n, c });
    list.gemm(layers, [n, 3 * c, c], plain, 0.0);
    list.gemm(layers, [n, c, c], plain, 0.0);
    list.gemm(layers, [n, 4 * c, c], gelu, 8.0 * (n * c) as f64);
    list.gemm(layers, [n, c, 4 * c], plain, 0.0);
}

fn blocks_backward(list: &mut OperationList, sizes: &Sizes) {
    let Sizes { layers, n, c, bias, .. } = *sizes;
    list.gemm(layers, [n, 4 * c, c], " dgelu", 8.0 * (n * c) as f64);
    list.gemm(layers, [n, c, 4 * c], "", 0.0);
    list.gemm(layers, [n, c, c], "", 0.0);
    list.gemm(layers, [n, c, 3 * c], "", 0.0);
    for (inputs, outputs) in [(4 * c, c), (c, 4 * c), (c, c), (c, 3 * c)] {
        list.gemm(layers, [inputs, outputs, n], " +=", 0.0);
    }
    list.kernel(1, floors::LayernormBackward { n, c, dx_is_new: 1 });
    list.kernel(2 * layers, floors::LayernormBackward { n, c, dx_is_new: 0 });
    list.kernel(2 * layers + 1 + if bias { 4 * layers } else { 0 }, floors::AddPartials {});
    if bias {
        list.kernel(2 * layers, floors::BiasBackward { n, c });
        list.kernel(layers, floors::BiasBackward { n, c: 3 * c });
        list.kernel(layers, floors::BiasBackward { n, c: 4 * c });
    }
}

/// The backward pass makes seven products where the forward pass makes two: the scores and the gradient of the
/// probabilities are computed both by key block and by query block, so that no sum needs atomics.
fn attention(list: &mut OperationList, config: &Config, b: usize, t: usize, kernels: AttentionKernels) {
    let Config { layers, heads: nh, .. } = *config;
    let hs = config.head_size();
    match kernels {
        AttentionKernels::Mma => {
            list.kernel(layers, floors::AttentionForward { b, t, nh, hs });
            list.kernel(layers, floors::AttentionBackwardRows { b, t, nh, hs });
            list.kernel(layers, floors::AttentionBackwardKeys { b, t, nh, hs });
            list.kernel(layers, floors::AttentionBackwardQueries { b, t, nh, hs });
        }
        AttentionKernels::Hopper => {
            list.kernel(layers, floors::AttentionHopperForward { b, t, nh, hs });
            list.kernel(layers, floors::AttentionHopperQueries { b, t, nh, hs });
            list.kernel(layers, floors::AttentionHopperKeys { b, t, nh, hs });
        }
    }
}

/// The attention kernels that a card runs where nothing else is asked for.
pub fn attention_kernels(card: &Peaks, config: &Config) -> AttentionKernels {
    match card.is_hopper() && attention_hopper::HEAD_SIZES.contains(&config.head_size()) {
        true => AttentionKernels::Hopper,
        false => AttentionKernels::Mma,
    }
}

fn head(list: &mut OperationList, sizes: &Sizes, config: &Config) {
    let Sizes { n, c, vocab, .. } = *sizes;
    let piece = head_rows(n, config);
    for start in (0..n).step_by(piece) {
        let rows = piece.min(n - start);
        list.gemm(1, [rows, vocab, c], "", 0.0);
        match cross_entropy::is_small(vocab) {
            true => list.kernel(1, floors::CrossEntropySmallVocab { n: rows, stride: vocab }),
            false => list.kernel(1, floors::CrossEntropyLargeVocab { n: rows, stride: vocab }),
        }
        list.gemm(1, [rows, c, vocab], "", 0.0);
        list.gemm(1, [vocab, c, rows], " +=", 0.0);
    }
    list.kernel(1, floors::CrossEntropyAddLosses { n });
}

fn embeddings(list: &mut OperationList, sizes: &Sizes, b: usize, t: usize) {
    let Sizes { n, c, vocab, .. } = *sizes;
    let tokens = vocab.min(n);
    list.kernel(1, floors::EmbeddingForward { n, c, tokens, positions: t });
    list.kernel(1, floors::EmbeddingBackwardTokens { n, c, tokens });
    list.kernel(1, floors::EmbeddingBackwardPositions { b, t, c });
}

fn update(list: &mut OperationList, parameters: usize) {
    list.kernel(1, floors::AdamwNormPartials { p: parameters });
    list.kernel(1, floors::AdamwDecide {});
    list.kernel(1, floors::AdamwUpdate { p: parameters });
}

/// The table as text, the slowest floor first.
pub fn text(operations: &[Operation], card: &Peaks) -> String {
    let mut rows: Vec<&Operation> = operations.iter().collect();
    rows.sort_by(|a, b| b.floor(card).total_cmp(&a.floor(card)));
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut out = format!(
        "{:width$}  {:>5}  {:>10}  {:>10}  {:>9}  {:>9}\n",
        "operation", "count", "GFLOP", "MB", "bound by", "floor ms"
    );
    let line = |name: &str, count: String, flops: f64, bytes: f64, by: &str, floor: f64| {
        let (flops, bytes, floor) = (flops / 1e9, bytes / 1e6, floor * 1e3);
        format!("{name:width$}  {count:>5}  {flops:>10.2}  {bytes:>10.2}  {by:>9}  {floor:>9.3}\n")
    };
    for row in &rows {
        out += &line(&row.name, row.count.to_string(), row.flops, row.bytes, row.bound(card), row.floor(card));
    }
    let sum = |of: &dyn Fn(&Operation) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
    let (flops, bytes) = (sum(&|row| row.flops), sum(&|row| row.bytes));
    out + &line("sum", String::new(), flops, bytes, "", sum(&|row| row.floor(card)))
}

/// The share of the time of a step that its floor at the data sheet's peaks was, where both are known: NVIDIA H100 80GB HBM3,
/// 12 layers, 12 heads, 768 channels, vocabulary 82, 24 sequences of 2048 tokens, attention by mma.sync (LOG.md).
pub const FLOOR_SHARE_ON_H100: f64 = 0.527;

/// What the floor lets expect of a card: how far the same method was off on the card that has run the program.
pub fn prediction(operations: &[Operation], card: &Peaks) -> String {
    let floor: f64 = operations.iter().map(|row| row.floor(card)).sum();
    let (least, expected) = (floor * 1e3, floor * 1e3 / FLOOR_SHARE_ON_H100);
    format!(
        "prediction, not measured: {expected:.1} ms. The floor, {least:.1} ms, is what the card cannot beat; on an H100 the \
         floor that was computed in this way was {:.1} % of the measured step (12 layers, 768 channels, 24 x 2048 tokens)",
        100.0 * FLOOR_SHARE_ON_H100
    )
}

/// Recompute level whose operations [`step`] lists.
pub const RECOMPUTE: Recompute = Recompute::Nothing;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::Flops;

    /// The step took 75.7 ms (LOG.md); this is the floor that `bench --roofline --gpu h100` prints for it.
    #[test]
    fn the_share_on_the_h100_is_its_floor_over_the_measured_time() {
        let config = Config { layers: 12, heads: 12, channels: 768, context: 2048, vocab: 82, bias: false };
        let h100 = super::super::peaks::by_name("h100").unwrap();
        let step = step(&config, 24, 2048, AttentionKernels::Mma);
        let floor: f64 = step.iter().map(|row| row.floor(h100)).sum();
        assert!((floor / 75.7e-3 - FLOOR_SHARE_ON_H100).abs() < 1e-3, "{}", floor / 75.7e-3);
        let says = prediction(&step, h100);
        assert!(says.starts_with("prediction, not measured: 75.") && says.contains("was 52.7 % of"), "{says}");
    }

    /// Products are 6 FLOPs a weight and token; attention's deterministic backward pass adds two products to nanoGPT's
    /// and the causal formula's count.
    #[test]
    fn flops_agree_with_the_formula_of_mfu() {
        let config = Config { layers: 12, heads: 12, channels: 768, context: 1024, vocab: 128, bias: false };
        let (batch, seq_len) = (12, 1024);
        let total =
            |kernels| step(&config, batch, seq_len, kernels).iter().map(|operation| operation.flops).sum::<f64>();
        let (total, on_hopper) = (total(AttentionKernels::Mma), total(AttentionKernels::Hopper));
        assert_eq!(total, on_hopper, "the same products on every card");
        let product = 2.0 * (12 * batch * 768) as f64 * (seq_len * (seq_len + 1) / 2) as f64;
        let weights = 6.0 * 25.0 * 768.0 * (batch * seq_len) as f64; // counted as weights by the formula, not products
        let diagonal = 6.0 * 12.0 * 768.0 * (batch * seq_len) as f64; // T (T + 1) / 2 against T^2 / 2
        let expected = Flops::per_token(&config).causal * (batch * seq_len) as f64 - weights + 3.0 * product + diagonal;
        assert!((total / expected - 1.0).abs() < 1e-6, "{total} {expected}");
    }
}
