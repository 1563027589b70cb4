//! The naive bf16 model of the tolerance rule: the plain f32 operations, with every activation and weight rounded to bf16 where
//! the CUDA engine stores one. What the engine may err is measured by what this one errs.

use half::bf16;
use logwright::cpu::attention::AttentionShape;
use logwright::cpu::matrix::{Matrix, Threads, multiply, multiply_add};
use logwright::cpu::{attention, embedding, gelu, layernorm, linear};
use logwright::engine::{Batch, IGNORE};
use logwright::gpt::layout::{Block, Linear, Norm, Tensor};
use logwright::gpt::{Config, Layout};

pub struct Naive {
    config: Config,
    layout: Layout,
    /// (layout.len), as `params_bf16`: rounded.
    weights: Vec<f32>,
    pub gradients: Vec<f32>,
}

/// What a block keeps.
struct Kept {
    input: Vec<f32>,
    norm_1: Normed,
    qkv: Vec<f32>,
    lse: Vec<f32>,
    attn_out: Vec<f32>,
    residual_mid: Vec<f32>,
    norm_2: Normed,
    mlp_fc_out: Vec<f32>,
    gelu_out: Vec<f32>,
}

struct Normed {
    y: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

fn round(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
    values
}

fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
    round(a.iter().zip(b).map(|(a, b)| a + b).collect())
}

impl Naive {
    pub fn new(config: Config, parameters: &[f32]) -> Self {
        let layout = Layout::new(&config);
        let gradients = vec![0.0; layout.len];
        Naive { config, layout, weights: round(parameters.to_vec()), gradients }
    }

    fn weight(&self, tensor: &Tensor) -> &[f32] {
        &self.weights[tensor.range.clone()]
    }

    fn optional(&self, tensor: &Option<Tensor>) -> Option<&[f32]> {
        tensor.as_ref().map(|tensor| self.weight(tensor))
    }

    fn norm(&self, x: &[f32], norm: &Norm) -> Normed {
        let n = x.len() / self.config.channels;
        let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; n], vec![0.0; n]);
        let (weight, bias) = (self.weight(&norm.weight), self.optional(&norm.bias));
        layernorm::forward(&mut y, &mut mean, &mut rstd, x, weight, bias);
        Normed { y: round(y), mean, rstd }
    }

    fn linear(&self, x: &[f32], of: &Linear) -> Vec<f32> {
        let (inputs, outputs) = (of.weight.shape[0], of.weight.shape[1]);
        let mut y = vec![0.0; x.len() / inputs * outputs];
        linear::forward(&mut y, x, self.weight(&of.weight), self.optional(&of.bias), inputs);
        round(y)
    }

    fn shape(&self, rows: usize, seq_len: usize) -> AttentionShape {
        AttentionShape { batch: rows / seq_len, seq_len, heads: self.config.heads, head_size: self.config.head_size() }
    }

    fn block(&self, input: Vec<f32>, of: &Block, seq_len: usize) -> (Vec<f32>, Kept) {
        let rows = input.len() / self.config.channels;
        let norm_1 = self.norm(&input, &of.norm_1);
        let qkv = self.linear(&norm_1.y, &of.qkv);
        let mut attn_out = vec![0.0; input.len()];
        let (mut lse, mut by_head) = (vec![0.0; rows * self.config.heads], attn_out.clone());
        attention::forward(&mut attn_out, &mut lse, &mut by_head, &qkv, self.shape(rows, seq_len));
        let attn_out = round(attn_out);
        let residual_mid = sum(&input, &self.linear(&attn_out, &of.attn_proj));
        let norm_2 = self.norm(&residual_mid, &of.norm_2);
        let mlp_fc_out = self.linear(&norm_2.y, &of.mlp_fc);
        let mut gelu_out = vec![0.0; mlp_fc_out.len()];
        gelu::forward(&mut gelu_out, &mlp_fc_out);
        let gelu_out = round(gelu_out);
        let out = sum(&residual_mid, &self.linear(&gelu_out, &of.mlp_proj));
        (out, Kept { input, norm_1, qkv, lse, attn_out, residual_mid, norm_2, mlp_fc_out, gelu_out })
    }

    /// losses (N) and, added to `gradients`, scale x the gradient of their sum.
    pub fn accumulate(&mut self, batch: Batch, scale: f32) -> Vec<f32> {
        let (rows, c) = (batch.tokens.len(), self.config.channels);
        let layout = self.layout.clone();
        let mut stream = vec![0.0; rows * c];
        let tables = [&layout.token_embedding, &layout.position_embedding].map(|table| self.weight(table));
        embedding::forward(&mut stream, batch.tokens, tables[0], tables[1], batch.seq_len, c);
        let mut stream = round(stream);
        let mut kept = Vec::new();
        for of in &layout.blocks {
            let (out, block) = self.block(stream, of, batch.seq_len);
            stream = out;
            kept.push(block);
        }
        let normed = self.norm(&stream, &layout.norm_final);
        let (losses, dy) = self.head(&normed.y, batch.targets, scale);
        let mut residual = vec![0.0; rows * c];
        self.norm_backward(&mut residual, &dy, &stream, &normed, &layout.norm_final);
        for (of, block) in layout.blocks.iter().zip(&kept).rev() {
            self.block_backward(&mut residual, block, of, batch.seq_len);
        }
        let ranges = [layout.token_embedding.range, layout.position_embedding.range];
        let [dtokens, dpositions] = self.gradients.get_disjoint_mut(ranges).unwrap();
        embedding::backward(dtokens, dpositions, &residual, batch.tokens, batch.seq_len, c);
        losses
    }

    fn head(&mut self, x: &[f32], targets: &[u32], scale: f32) -> (Vec<f32>, Vec<f32>) {
        let (n, c, vocab) = (targets.len(), self.config.channels, self.config.vocab);
        let range = self.layout.token_embedding.range.clone();
        let (head, mut logits) = (&self.weights[range.clone()], vec![0.0; n * vocab]);
        multiply(&mut logits, Matrix::new(x, n, c), Matrix::new(head, vocab, c).t(), 1.0, Threads::All);
        let mut logits = round(logits);
        let row_loss = |(row, &target): (&mut [f32], &u32)| {
            if target == IGNORE {
                row.fill(0.0);
                return 0.0;
            }
            let top = row.iter().fold(f32::NEG_INFINITY, |top, &x| top.max(x));
            let lse = row.iter().map(|x| (x - top).exp()).sum::<f32>().ln() + top;
            let loss = lse - row[target as usize];
            row.iter_mut().for_each(|x| *x = scale * (*x - lse).exp());
            row[target as usize] -= scale;
            loss
        };
        let losses = logits.chunks_exact_mut(vocab).zip(targets).map(row_loss).collect();
        let dlogits = round(logits);
        let mut dx = vec![0.0; n * c];
        multiply(&mut dx, Matrix::new(&dlogits, n, vocab), Matrix::new(head, vocab, c), 1.0, Threads::All);
        let dhead = &mut self.gradients[range];
        multiply_add(dhead, Matrix::new(&dlogits, n, vocab).t(), Matrix::new(x, n, c), Threads::All);
        (losses, round(dx))
    }

    /// residual += the gradient of a norm at dy.
    fn norm_backward(&mut self, residual: &mut Vec<f32>, dy: &[f32], x: &[f32], saved: &Normed, norm: &Norm) {
        let weight = self.weights[norm.weight.range.clone()].to_vec();
        let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
        layernorm::backward(residual, &mut dweight, Some(&mut dbias), dy, x, &saved.mean, &saved.rstd, &weight);
        *residual = round(std::mem::take(residual));
        self.add(&norm.weight, &dweight);
        if let Some(bias) = &norm.bias {
            self.add(bias, &dbias);
        }
    }

    fn add(&mut self, tensor: &Tensor, more: &[f32]) {
        self.gradients[tensor.range.clone()].iter_mut().zip(more).for_each(|(a, b)| *a += b);
    }

    /// The gradient of a linear layer's input; its weights' gradients +=.
    fn linear_backward(&mut self, dy: &[f32], x: &[f32], of: &Linear) -> Vec<f32> {
        let (inputs, outputs) = (of.weight.shape[0], of.weight.shape[1]);
        let weight = &self.weights[of.weight.range.clone()];
        let (mut dx, mut dweight, mut dbias) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outputs]);
        linear::backward(&mut dx, &mut dweight, Some(&mut dbias), dy, x, weight, inputs);
        self.add(&of.weight, &dweight);
        if let Some(bias) = &of.bias {
            self.add(bias, &dbias);
        }
        dx
    }

    fn block_backward(&mut self, residual: &mut Vec<f32>, kept: &Kept, of: &Block, seq_len: usize) {
        let rows = kept.input.len() / self.config.channels;
        let mut wide = self.linear_backward(residual, &kept.gelu_out, &of.mlp_proj);
        gelu::backward(&mut wide, &kept.mlp_fc_out);
        let narrow = round(self.linear_backward(&round(wide), &kept.norm_2.y, &of.mlp_fc));
        self.norm_backward(residual, &narrow, &kept.residual_mid, &kept.norm_2, &of.norm_2);
        let narrow = round(self.linear_backward(residual, &kept.attn_out, &of.attn_proj));
        let (mut dqkv, mut by_head) = (vec![0.0; kept.qkv.len()], vec![0.0; kept.qkv.len()]);
        let shape = self.shape(rows, seq_len);
        attention::backward(&mut dqkv, &mut by_head, &narrow, &kept.attn_out, &kept.lse, &kept.qkv, shape);
        let narrow = round(self.linear_backward(&round(dqkv), &kept.norm_1.y, &of.qkv));
        self.norm_backward(residual, &narrow, &kept.input, &kept.norm_1, &of.norm_1);
    }
}
