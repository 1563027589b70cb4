//! The CPU engine against PyTorch: logits, loss, every gradient, ten AdamW steps.
//!
//! `scripts/make_fixtures.py` writes the files and says what is in them. The tolerance is computed, not typed: the engine's
//! f32 error against PyTorch's float64 may be twice that of PyTorch's own float32, plus one rounding of the largest value.

use logwright::cpu::CpuEngine;
use logwright::engine::{AdamW, Batch, Engine, IGNORE, State};
use logwright::gpt::{Config, Layout};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;

struct Fixture {
    bytes: Vec<u8>,
    about: Value,
}

impl Fixture {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let about = serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
        Fixture { bytes, about }
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = tensors.tensor(name).unwrap_or_else(|_| panic!("no {name}"));
        match view.dtype() {
            Dtype::F64 => view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F32 => {
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
            }
            Dtype::I32 => {
                view.data().chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()).into()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn config(&self) -> Config {
        serde_json::from_value(self.about.clone()).unwrap()
    }

    /// Requires `ours` to be as close to the truth `name` as its recorded errors (largest, root mean square) allow.
    fn assert_close(&self, name: &str, ours: &[f32]) {
        let (truth, allowed) = (self.values(name), self.values(&format!("error.{name}")));
        assert_eq!(truth.len(), ours.len(), "{name}");
        let kept = self.kept(name, truth.len());
        let errors: Vec<f64> = kept.iter().map(|&i| (ours[i] as f64 - truth[i]).abs()).collect();
        let floor = f32::EPSILON as f64 * truth.iter().fold(0.0f64, |top, x| top.max(x.abs()));
        let largest = errors.iter().copied().fold(0.0, f64::max);
        let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        for (kind, found, allowed) in [("largest", largest, allowed[0]), ("rms", rms, allowed[1])] {
            let limit = 2.0 * allowed + floor;
            assert!(found <= limit, "{name}: {kind} error {found:e}, allowed {limit:e}");
        }
    }

    /// Elements that are compared: the key part of a qkv bias has no gradient but rounding noise, which AdamW blows up.
    fn kept(&self, name: &str, len: usize) -> Vec<usize> {
        let noisy = name.starts_with("after.") && name.ends_with("attn.c_attn.bias");
        (0..len).filter(|i| !(noisy && (len / 3..2 * len / 3).contains(i))).collect()
    }

    fn engine(&self) -> CpuEngine {
        let config = self.config();
        let layout = Layout::new(&config);
        let mut parameters = vec![0.0; layout.len];
        for tensor in layout.tensors() {
            let values = self.values(&format!("param.{}", tensor.name));
            parameters[tensor.range.clone()].iter_mut().zip(values).for_each(|(p, value)| *p = value as f32);
        }
        CpuEngine::new(config, parameters)
    }

    fn tokens(&self, name: &str) -> Vec<u32> {
        self.values(name).iter().map(|&token| if token < 0.0 { IGNORE } else { token as u32 }).collect()
    }

    fn seq_len(&self) -> usize {
        self.about["time"].as_u64().unwrap() as usize
    }
}

fn state(engine: &CpuEngine, state: State) -> Vec<f32> {
    let mut values = vec![0.0; engine.layout().len];
    engine.read(state, &mut values).unwrap();
    values
}

fn forward_and_gradients(file: &str) {
    let fixture = Fixture::read(file);
    let mut engine = fixture.engine();
    let (tokens, targets) = (fixture.tokens("tokens"), fixture.tokens("targets"));
    let batch = Batch { tokens: &tokens, targets: &targets, seq_len: fixture.seq_len() };
    let mut logits = vec![f32::NAN; tokens.len() * fixture.config().vocab];
    engine.logits(&tokens, batch.seq_len, &mut logits).unwrap();
    fixture.assert_close("logits", &logits);

    let mut losses = vec![f32::NAN; tokens.len()];
    engine.losses(batch, &mut losses).unwrap();
    let mean = losses.iter().map(|&loss| loss as f64).sum::<f64>() / batch.counted() as f64;
    fixture.assert_close("loss", &[mean as f32]);

    engine.accumulate(batch, 1.0 / batch.counted() as f32).unwrap();
    let gradients = state(&engine, State::Gradients);
    for tensor in engine.layout().tensors() {
        fixture.assert_close(&format!("grad.{}", tensor.name), &gradients[tensor.range.clone()]);
    }
}

fn ten_adamw_steps(file: &str) {
    let fixture = Fixture::read(file);
    let mut engine = fixture.engine();
    let (tokens, targets) = (fixture.tokens("tokens"), fixture.tokens("targets"));
    let batch = Batch { tokens: &tokens, targets: &targets, seq_len: fixture.seq_len() };
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let adamw = &fixture.about["adamw"];
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for (i, lr) in fixture.values("adamw.lr").into_iter().enumerate() {
        engine.accumulate(batch, 1.0 / batch.counted() as f32).unwrap();
        let step = AdamW {
            lr: lr as f32,
            beta_1: number(&adamw["betas"][0]),
            beta_2: number(&adamw["betas"][1]),
            epsilon: number(&adamw["eps"]),
            weight_decay: number(&adamw["weight_decay"]),
            max_grad_norm: number(&adamw["clip"]),
            step: i as u64 + 1,
        };
        let update = engine.update(&step).unwrap();
        losses.push(update.loss as f32);
        norms.push(update.norm as f32);
    }
    fixture.assert_close("adamw.loss", &losses);
    fixture.assert_close("adamw.norm", &norms);
    let after = state(&engine, State::Parameters);
    for tensor in engine.layout().tensors() {
        fixture.assert_close(&format!("after.{}", tensor.name), &after[tensor.range.clone()]);
    }
}

#[test]
fn logits_loss_and_gradients_with_biases() {
    forward_and_gradients("gpt2_bias.safetensors");
}

#[test]
fn logits_loss_and_gradients_without_biases() {
    forward_and_gradients("gpt2_nobias.safetensors");
}

#[test]
fn ten_adamw_steps_with_biases() {
    ten_adamw_steps("gpt2_bias.safetensors");
}

#[test]
fn ten_adamw_steps_without_biases() {
    ten_adamw_steps("gpt2_nobias.safetensors");
}
