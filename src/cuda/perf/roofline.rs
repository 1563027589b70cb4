//! The roofline on paper: what every operation of a step must compute and move, and how fast a card could do it
//! (Williams, Waterman and Patterson, 2009: the larger of FLOPs / peak and bytes / bandwidth is a floor of the time).
//!
//! Bytes are the compulsory ones: each operand read once, each result written once.

use super::peaks::Peaks;
use crate::cuda::model::activations::{Recompute, head_rows};
use crate::cuda::model::new_rows;
use crate::cuda::model::parameters::padded;
use crate::cuda::ops::cross_entropy;
use crate::gpt::{Config, Layout};

/// One row: all operations of one name in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The kernel's name, or the product's [`crate::cuda::device::gemm::GemmCall::label`].
    pub name: String,
    /// Times a step.
    pub count: usize,
    /// Of all of them together.
    pub flops: f64,
    /// Of all of them together.
    pub bytes: f64,
}

impl Operation {
    /// Seconds below which the card cannot do it.
    pub fn floor(&self, card: &Peaks) -> f64 {
        (self.flops / (card.tflops * 1e12)).max(self.bytes / (card.bandwidth * 1e9))
    }

    /// Whether products are what keeps the card busy longest, or memory.
    pub fn bound(&self, card: &Peaks) -> &'static str {
        if self.flops / (card.tflops * 1e12) > self.bytes / (card.bandwidth * 1e9) { "compute" } else { "memory" }
    }
}

/// Letters of the design, as f64.
struct Sizes {
    layers: usize,
    n: usize,
    c: usize,
    vocab: usize,
    bias: bool,
}

/// Collects operations by name.
#[derive(Default)]
struct Table(Vec<Operation>);

impl Table {
    fn add(&mut self, name: impl Into<String>, count: usize, flops: f64, bytes: f64) {
        let name = name.into();
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

    /// A product with `more` bytes beside its operands and bf16 result.
    fn gemm(&mut self, count: usize, [m, n, k]: [usize; 3], epilogue: &str, more: f64) {
        let [mf, nf, kf] = [m, n, k].map(|x| x as f64);
        let result = if epilogue == " +=" { 8.0 } else { 2.0 };
        let bytes = 2.0 * (mf * kf + kf * nf) + result * mf * nf + more;
        self.add(format!("gemm {m}x{n}x{k}{epilogue}"), count, 2.0 * mf * nf * kf, bytes);
    }
}

/// Operations of one micro-batch, forward and backward, and of one update; with everything kept and GELU in the products.
pub fn step(config: &Config, batch: usize, seq_len: usize) -> Vec<Operation> {
    let Config { layers, channels: c, bias, .. } = *config;
    let sizes = Sizes { layers, n: batch * seq_len, c, vocab: padded(config).vocab, bias };
    let mut table = Table::default();
    blocks_forward(&mut table, &sizes);
    attention(&mut table, config, batch, seq_len);
    head(&mut table, &sizes, config);
    blocks_backward(&mut table, &sizes);
    ends(&mut table, &sizes, seq_len);
    update(&mut table, Layout::new(&padded(config)).len as f64);
    table.0
}

/// Operations of one token for each of `slots` sequences whose context is full but for it, drawn on the device.
pub fn token(config: &Config, slots: usize) -> Vec<Operation> {
    let Config { layers, channels: c, context, bias, .. } = *config;
    let sizes = Sizes { layers, n: new_rows::padded(slots), c, vocab: padded(config).vocab, bias };
    let mut table = Table::default();
    let (nc, sc) = ((sizes.n * c) as f64, (slots * c) as f64);
    let rows_used = (sizes.vocab.min(sizes.n) * c) as f64;
    table.add("embedding_forward", 1, 0.0, 4.0 * nc + 2.0 * rows_used);
    blocks_forward(&mut table, &sizes);
    table.add("decode_append", layers, 0.0, 8.0 * sc);
    table.add("decode_attend", layers, 4.0 * sc * context as f64, 4.0 * sc * context as f64 + 2.0 * sc);
    table.add("decode_combine", layers, 0.0, 2.0 * sc);
    table.add("decode_gather", 1, 0.0, 4.0 * sc);
    table.gemm(1, [slots, sizes.vocab, c], "", 0.0);
    table.add("sampling_draw", 1, 0.0, 2.0 * (slots * sizes.vocab) as f64);
    table.0
}

fn blocks_forward(table: &mut Table, sizes: &Sizes) {
    let Sizes { layers, n, c, bias, .. } = *sizes;
    let nc = (n * c) as f64;
    let (plain, gelu) = if bias { (" bias", " bias gelu") } else { ("", " gelu") };
    table.add("layernorm_forward", 1, 0.0, 4.0 * nc);
    table.add("residual_layernorm_forward", 2 * layers, 0.0, 8.0 * nc);
    table.gemm(layers, [n, 3 * c, c], plain, 0.0);
    table.gemm(layers, [n, c, c], plain, 0.0);
    table.gemm(layers, [n, 4 * c, c], gelu, 8.0 * nc);
    table.gemm(layers, [n, c, 4 * c], plain, 0.0);
}

fn blocks_backward(table: &mut Table, sizes: &Sizes) {
    let Sizes { layers, n, c, bias, .. } = *sizes;
    let nc = (n * c) as f64;
    table.gemm(layers, [n, 4 * c, c], " dgelu", 8.0 * nc);
    table.gemm(layers, [n, c, 4 * c], "", 0.0);
    table.gemm(layers, [n, c, c], "", 0.0);
    table.gemm(layers, [n, c, 3 * c], "", 0.0);
    for (inputs, outputs) in [(4 * c, c), (c, 4 * c), (c, c), (c, 3 * c)] {
        table.gemm(layers, [inputs, outputs, n], " +=", 0.0);
    }
    // dx is read and written but for the first, dy and x are read.
    table.add("layernorm_backward", 1, 0.0, 6.0 * nc);
    table.add("layernorm_backward", 2 * layers, 0.0, 8.0 * nc);
    let sums = 2 * layers + 1 + if bias { 4 * layers } else { 0 };
    table.add("add_partials", sums, 0.0, 0.0);
    if bias {
        table.add("bias_backward", 2 * layers, 0.0, 2.0 * nc);
        table.add("bias_backward", layers, 0.0, 6.0 * nc);
        table.add("bias_backward", layers, 0.0, 8.0 * nc);
    }
}

/// Causal: T (T + 1) / 2 pairs of query and key a head. Forward two products over them, backward seven: the scores and the
/// gradient of the probabilities are computed both by key block and by query block, so that no sum needs atomics.
fn attention(table: &mut Table, config: &Config, batch: usize, seq_len: usize) {
    let Config { layers, heads, channels: c, .. } = *config;
    let (nc, statistics) = ((batch * seq_len * c) as f64, 4.0 * (batch * seq_len * heads) as f64);
    let product = 2.0 * (batch * c) as f64 * (seq_len * (seq_len + 1) / 2) as f64;
    let size = config.head_size();
    table.add(format!("attention_forward_{size}"), layers, 2.0 * product, 8.0 * nc + statistics);
    table.add(format!("attention_backward_rows_{size}"), layers, 0.0, 4.0 * nc + statistics);
    table.add(format!("attention_backward_keys_{size}"), layers, 4.0 * product, 12.0 * nc + 2.0 * statistics);
    table.add(format!("attention_backward_queries_{size}"), layers, 3.0 * product, 10.0 * nc + 2.0 * statistics);
}

fn head(table: &mut Table, sizes: &Sizes, config: &Config) {
    let Sizes { n, c, vocab, .. } = *sizes;
    let piece = head_rows(n, config);
    for start in (0..n).step_by(piece) {
        let rows = piece.min(n - start);
        table.gemm(1, [rows, vocab, c], "", 0.0);
        table.add(cross_entropy::kernel(vocab), 1, 0.0, 4.0 * (rows * vocab) as f64);
        table.gemm(1, [rows, c, vocab], "", 0.0);
        table.gemm(1, [vocab, c, rows], " +=", 0.0);
    }
    table.add("cross_entropy_add_losses", 1, 0.0, 4.0 * n as f64);
}

fn ends(table: &mut Table, sizes: &Sizes, seq_len: usize) {
    let Sizes { n, c, vocab, .. } = *sizes;
    let (nc, positions) = ((n * c) as f64, (seq_len * c) as f64);
    let rows_used = (vocab.min(n) * c) as f64;
    table.add("embedding_forward", 1, 0.0, 2.0 * nc + 2.0 * (rows_used + positions));
    table.add("embedding_backward_tokens", 1, 0.0, 2.0 * nc + 8.0 * rows_used);
    table.add("embedding_backward_positions", 1, 0.0, 2.0 * nc + 8.0 * positions);
}

/// Reads parameter, gradient and two moments, writes them (the gradient as zero) and the bf16 copy: 34 bytes a parameter.
fn update(table: &mut Table, parameters: f64) {
    table.add("adamw_norm_partials", 1, 0.0, 4.0 * parameters);
    table.add("adamw_decide", 1, 0.0, 0.0);
    table.add("adamw_update", 1, 0.0, 34.0 * parameters);
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

/// Recompute level whose operations [`step`] lists.
pub const RECOMPUTE: Recompute = Recompute::Nothing;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::Flops;

    /// Products are 6 FLOPs a weight and token; attention's deterministic backward pass adds two products to nanoGPT's and
    /// the causal formula's count.
    #[test]
    fn flops_agree_with_the_formula_of_mfu() {
        let config = Config { layers: 12, heads: 12, channels: 768, context: 1024, vocab: 128, bias: false };
        let (batch, seq_len) = (12, 1024);
        let total: f64 = step(&config, batch, seq_len).iter().map(|operation| operation.flops).sum();
        let product = 2.0 * (12 * batch * 768) as f64 * (seq_len * (seq_len + 1) / 2) as f64;
        let weights = 6.0 * 25.0 * 768.0 * (batch * seq_len) as f64; // counted as weights by the formula, not products
        let diagonal = 6.0 * 12.0 * 768.0 * (batch * seq_len) as f64; // T (T + 1) / 2 against T^2 / 2
        let expected = Flops::per_token(&config).causal * (batch * seq_len) as f64 - weights + 3.0 * product + diagonal;
        assert!((total / expected - 1.0).abs() < 1e-6, "{total} {expected}");
    }
}
