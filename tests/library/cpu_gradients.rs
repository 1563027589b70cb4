//! Every backward pass of the CPU engine against central differences of its forward pass, in f64 on tiny odd shapes.
//!
//! A central difference with step h has an error of about h^2 |f'''| / 6 + eps |f| / h; the tolerance is computed from the
//! difference between two step sizes, not typed: the truth lies within a few times |D(h) - D(2h)| of D(h).

use logwright::cpu::attention::{self, AttentionShape};
use logwright::cpu::model::Model;
use logwright::cpu::{cross_entropy, embedding, gelu, layernorm, linear};
use logwright::engine::{Batch, IGNORE};
use logwright::gpt::{Config, Layout};

/// A small deterministic source of values in (-1, 1).
fn values(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Checks `gradient` of the scalar `f` at `x`, element by element.
fn check(what: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len());
    let difference = |i: usize, h: f64| {
        let at = |bias: f64| {
            let mut moved = x.to_vec();
            moved[i] += bias;
            f(&moved)
        };
        (at(h) - at(-h)) / (2.0 * h)
    };
    let size = f(x).abs().max(1.0);
    for (i, &ours) in gradient.iter().enumerate() {
        let h = 1e-4;
        let (near, far) = (difference(i, h), difference(i, 2.0 * h));
        let tolerance = 2.0 * (near - far).abs() + 100.0 * f64::EPSILON * size / h;
        assert!((near - ours).abs() <= tolerance, "{what}[{i}]: {ours} but difference {near} +- {tolerance}");
    }
}

#[test]
fn linear_layer() {
    let (n, inputs, outputs) = (3, 5, 7);
    let (x, w, b, dy) =
        (values(n * inputs, 1), values(inputs * outputs, 2), values(outputs, 3), values(n * outputs, 4));
    let loss = |x: &[f64], w: &[f64], b: &[f64]| {
        let mut y = vec![f64::NAN; n * outputs];
        linear::forward(&mut y, x, w, Some(b), inputs);
        dot(&y, &dy)
    };
    let (mut dx, mut dw, mut db) = (vec![f64::NAN; x.len()], vec![0.5; w.len()], vec![0.5; b.len()]);
    linear::backward(&mut dx, &mut dw, Some(&mut db), &dy, &x, &w, inputs);
    let added = |d: &[f64]| d.iter().map(|d| d - 0.5).collect::<Vec<_>>();
    check("dx", &x, &dx, |x| loss(x, &w, &b));
    check("dweight", &w, &added(&dw), |w| loss(&x, w, &b));
    check("dbias", &b, &added(&db), |b| loss(&x, &w, b));
}

#[test]
fn layer_norm() {
    let (n, c) = (3, 19);
    let (x, weight, bias, dy) = (values(n * c, 1), values(c, 2), values(c, 3), values(n * c, 4));
    let run = |x: &[f64], weight: &[f64], bias: &[f64]| {
        let (mut y, mut mean, mut rstd) = (vec![f64::NAN; n * c], vec![f64::NAN; n], vec![f64::NAN; n]);
        layernorm::forward(&mut y, &mut mean, &mut rstd, x, weight, Some(bias));
        (y, mean, rstd)
    };
    let loss = |x: &[f64], weight: &[f64], bias: &[f64]| dot(&run(x, weight, bias).0, &dy);
    let (_, mean, rstd) = run(&x, &weight, &bias);
    let (mut dx, mut dweight, mut dbias) = (vec![0.0; n * c], vec![0.0; c], vec![0.0; c]);
    layernorm::backward(&mut dx, &mut dweight, Some(&mut dbias), &dy, &x, &mean, &rstd, &weight);
    check("dx", &x, &dx, |x| loss(x, &weight, &bias));
    check("dweight", &weight, &dweight, |weight| loss(&x, weight, &bias));
    check("dbias", &bias, &dbias, |bias| loss(&x, &weight, bias));
}

#[test]
fn gelu_activation() {
    let (x, dy) = (values(37, 1).iter().map(|x| 4.0 * x).collect::<Vec<_>>(), values(37, 2));
    let mut dx = dy.clone();
    gelu::backward(&mut dx, &x);
    check("dx", &x, &dx, |x| {
        let mut y = vec![f64::NAN; x.len()];
        gelu::forward(&mut y, x);
        dot(&y, &dy)
    });
}

#[test]
fn gelu_matches_its_published_formula() {
    let x = values(100, 1).iter().map(|x| 5.0 * x).collect::<Vec<_>>();
    let mut y = vec![0.0; x.len()];
    gelu::forward(&mut y, &x);
    for (x, y) in x.iter().zip(y) {
        let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        assert!((y - 0.5 * x * (1.0 + u.tanh())).abs() < 1e-14 * x.abs().max(1.0));
    }
}

#[test]
fn embeddings() {
    let (vocab, context, c, seq_len) = (5, 4, 3, 3);
    let tokens = [4, 0, 4, 1, 4, 2];
    let (wte, wpe, dy) = (values(vocab * c, 1), values(context * c, 2), values(tokens.len() * c, 3));
    let loss = |wte: &[f64], wpe: &[f64]| {
        let mut y = vec![f64::NAN; dy.len()];
        embedding::forward(&mut y, &tokens, wte, wpe, seq_len, c);
        dot(&y, &dy)
    };
    let (mut dwte, mut dwpe) = (vec![0.0; wte.len()], vec![0.0; wpe.len()]);
    embedding::backward(&mut dwte, &mut dwpe, &dy, &tokens, seq_len, c);
    check("dwte", &wte, &dwte, |wte| loss(wte, &wpe));
    check("dwpe", &wpe, &dwpe, |wpe| loss(&wte, wpe));
}

#[test]
fn softmax_cross_entropy() {
    let (n, c, vocab) = (5, 3, 7);
    let (x, head, scale) = (values(n * c, 1), values(vocab * c, 2), 0.37);
    let targets = [6, 0, IGNORE, 3, 3];
    let loss = |x: &[f64], head: &[f64]| {
        let (mut losses, mut logits) = (vec![f64::NAN; n], vec![0.0; 2 * vocab]);
        cross_entropy::forward(&mut losses, &mut logits, x, head, &targets, c);
        losses.iter().sum::<f64>() * scale
    };
    let (mut losses, mut logits) = (vec![f64::NAN; n], vec![0.0; 2 * vocab]);
    let (mut dx, mut dhead) = (vec![f64::NAN; x.len()], vec![0.0; head.len()]);
    cross_entropy::forward_backward(&mut losses, &mut dx, &mut dhead, &mut logits, &x, &head, &targets, scale, c);
    assert_eq!(losses[2], 0.0);
    assert_eq!(losses.iter().sum::<f64>() * scale, loss(&x, &head));
    check("dx", &x, &dx, |x| loss(x, &head));
    check("dhead", &head, &dhead, |head| loss(&x, head));
}

/// out and lse of attention by the definition, one query at a time.
fn attention_by_definition(qkv: &[f64], shape: AttentionShape) -> Vec<f64> {
    let AttentionShape { batch, seq_len, heads, head_size: hs } = shape;
    let c = heads * hs;
    let at = |b: usize, t: usize, part: usize, h: usize| &qkv[((b * seq_len + t) * 3 + part) * c + h * hs..][..hs];
    let mut out = vec![0.0; batch * seq_len * c];
    for (b, t, h) in (0..batch * seq_len * heads).map(|i| (i / heads / seq_len, i / heads % seq_len, i % heads)) {
        let scores: Vec<f64> = (0..=t).map(|s| dot(at(b, t, 0, h), at(b, s, 1, h)) / (hs as f64).sqrt()).collect();
        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
        for (s, score) in scores.iter().enumerate() {
            for i in 0..hs {
                out[(b * seq_len + t) * c + h * hs + i] += score.exp() / sum * at(b, s, 2, h)[i];
            }
        }
    }
    out
}

#[test]
fn causal_attention() {
    // T = 1; odd; and one longer than a block of queries, whose gradients are checked at every seventh element.
    for (seq_len, batch, heads, stride) in [(1, 2, 3, 1), (5, 2, 2, 1), (67, 1, 1, 7)] {
        let shape = AttentionShape { batch, seq_len, heads, head_size: 4 };
        let len = batch * seq_len * heads * 4;
        let (qkv, dout) = (values(3 * len, 1), values(len, 2));
        let run = |qkv: &[f64]| {
            let (mut out, mut lse) = (vec![f64::NAN; len], vec![f64::NAN; batch * seq_len * heads]);
            attention::forward(&mut out, &mut lse, &mut vec![f64::NAN; len], qkv, shape);
            (out, lse)
        };
        let (out, lse) = run(&qkv);
        let truth = attention_by_definition(&qkv, shape);
        assert!(out.iter().zip(&truth).all(|(a, b)| (a - b).abs() < 1e-13));
        let mut dqkv = vec![f64::NAN; 3 * len];
        attention::backward(&mut dqkv, &mut vec![f64::NAN; 3 * len], &dout, &out, &lse, &qkv, shape);
        let chosen: Vec<usize> = (0..3 * len).step_by(stride).collect();
        let pick = |from: &[f64]| chosen.iter().map(|&i| from[i]).collect::<Vec<_>>();
        check(&format!("dqkv at T={seq_len}"), &pick(&qkv), &pick(&dqkv), |moved| {
            let mut full = qkv.clone();
            chosen.iter().zip(moved).for_each(|(&i, &value)| full[i] = value);
            dot(&run(&full).0, &dout)
        });
    }
}

#[test]
fn whole_model() {
    for bias in [true, false] {
        let config = Config { layers: 2, heads: 2, channels: 16, context: 6, vocab: 7, bias };
        let layout = Layout::new(&config);
        let mut parameters: Vec<f64> = values(layout.len, 5).iter().map(|x| 0.3 * x).collect();
        for tensor in layout.tensors().filter(|tensor| tensor.name.contains("ln_") && tensor.name.ends_with("weight")) {
            parameters[tensor.range.clone()].iter_mut().for_each(|weight| *weight += 1.0);
        }
        let (tokens, targets) = ([1, 6, 0, 2, 2, 5, 3, 3, 4, 1], [6, 0, 2, IGNORE, 5, 3, 3, 4, 1, 0]);
        let batch = Batch { tokens: &tokens, targets: &targets, seq_len: 5 };
        let mut model = Model::new(config, parameters.clone());
        let mut losses = vec![f64::NAN; tokens.len()];
        model.accumulate(batch, &mut losses, 1.0 / 9.0);
        let (half, gradients) = (model.gradients.clone(), &mut model.gradients);
        gradients.fill(0.0);
        model.accumulate(batch, &mut losses, 0.5 / 9.0);
        model.accumulate(batch, &mut losses, 0.5 / 9.0);
        assert!(half.iter().zip(&model.gradients).all(|(a, b)| (a - b).abs() < 1e-12), "gradients accumulate");
        check(&format!("parameters, bias {bias}"), &parameters, &half, |moved| {
            let mut losses = vec![f64::NAN; tokens.len()];
            Model::new(config, moved.to_vec()).losses(batch, &mut losses);
            losses.iter().sum::<f64>() / 9.0
        });
    }
}

/// Many sequences at once are cut into parallel pieces; one at a time they are not. Both must give the same.
#[test]
fn a_large_batch_is_its_sequences_one_by_one() {
    let config = Config { layers: 1, heads: 2, channels: 64, context: 9, vocab: 7000, bias: true };
    let (seq_len, sequences) = (9, 90);
    let layout = Layout::new(&config);
    let parameters: Vec<f64> = values(layout.len, 3).iter().map(|x| 0.1 * x).collect();
    let token = |i: usize, step: usize| (i * step % config.vocab) as u32;
    let tokens: Vec<u32> = (0..seq_len * sequences).map(|i| token(i, 37)).collect();
    let targets: Vec<u32> = (0..seq_len * sequences).map(|i| token(i, 53)).collect();
    let mut model = Model::new(config, parameters.clone());
    let mut together = vec![f64::NAN; tokens.len()];
    model.accumulate(Batch { tokens: &tokens, targets: &targets, seq_len }, &mut together, 1.0);
    let mut alone = Model::new(config, parameters);
    for (i, together) in together.chunks(seq_len).enumerate() {
        let at = i * seq_len..(i + 1) * seq_len;
        let mut losses = vec![f64::NAN; seq_len];
        alone.accumulate(Batch { tokens: &tokens[at.clone()], targets: &targets[at], seq_len }, &mut losses, 1.0);
        assert!(losses.iter().zip(together).all(|(a, b)| (a - b).abs() <= 64.0 * f64::EPSILON * b.abs()));
    }
    let largest = alone.gradients.iter().fold(0.0f64, |top, g| top.max(g.abs()));
    let rounding = f64::EPSILON * largest * tokens.len() as f64;
    assert!(model.gradients.iter().zip(&alone.gradients).all(|(a, b)| (a - b).abs() <= rounding));
}
