//! `logwright bench train` with weights and tokens from outside, as comparisons with other programs use it.

use crate::common::{SMALL, corpus, run};
use logwright::cpu::CpuEngine;
use logwright::engine::{Batch, Engine};
use logwright::gpt::checkpoint;
use serde_json::Value;
use std::fs;

#[test]
fn losses_are_those_of_the_tokens_in_their_order() {
    let home = corpus(60, "--tokenizer bytes");
    run(home.path(), &format!("train --data data --out run {SMALL} --steps 2")).has(0, &[]);
    let (config, parameters) = checkpoint::read_model(&home.path().join("run/last")).unwrap();
    // One update takes two micro-batches; the third begins before the end of the tokens and goes on from their start.
    let n = config.context;
    let stream: Vec<u32> = (0..2 * n as u32 + 9).map(|i| i * 7 % 256).collect();
    fs::write(home.path().join("tokens"), bytemuck::cast_slice::<u32, u8>(&stream)).unwrap();
    let flags = "--init-from run/last --tokens tokens --batch 1 --accumulation 2 --warmup 0 --steps 2";
    let said = run(home.path(), &format!("bench train {flags}"));
    let report: Value = serde_json::from_str(&said.has(0, &[]).out).unwrap();
    let losses: Vec<f64> = report["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    assert_eq!((losses.len(), report["accumulation"].as_u64()), (2, Some(2)));
    let mut each = vec![0.0f32; 2 * n];
    let (tokens, targets) = (&stream[..2 * n], &stream[1..=2 * n]);
    CpuEngine::new(config, parameters).losses(Batch { tokens, targets, seq_len: n }, &mut each).unwrap();
    let expected = each.iter().map(|&loss| f64::from(loss)).sum::<f64>() / each.len() as f64;
    // Sums of 2n f32 losses in another order: an error of n units in the last place at most.
    assert!((losses[0] - expected).abs() <= n as f64 * f64::from(f32::EPSILON) * expected, "{} {expected}", losses[0]);
    assert_ne!(losses[0], losses[1]);
    fs::write(home.path().join("tokens"), "abc").unwrap();
    run(home.path(), &format!("bench train {flags}")).has(1, &["tokens", "little-endian u32", "3 bytes"]);
    fs::write(home.path().join("tokens"), [0xff; 64]).unwrap();
    run(home.path(), &format!("bench train {flags}")).has(1, &["outside the model's vocabulary"]);
}
