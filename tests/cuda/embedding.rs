use crate::harness::{Bench, assert_close, on_devices, random, round, wide};
use logwright::cpu;
use logwright::cuda::ops::embedding::{self, BackwardPositions, BackwardTokens, Forward};

on_devices! { forward backward a_large_vocabulary_mostly_absent }

/// batch, time, channels, vocabulary
const SHAPES: [[usize; 4]; 6] =
    [[1, 1, 64, 82], [3, 63, 128, 82], [2, 64, 384, 82], [1, 65, 768, 130], [5, 5, 1600, 82], [3, 257, 64, 3]];

/// Tokens of which low ones are common, as in text.
fn tokens(n: usize, vocab: usize) -> Vec<u32> {
    random(n, 9, 1.0).iter().map(|x| (x * x * vocab as f32) as u32).map(|v| v.min(vocab as u32 - 1)).collect()
}

fn forward(bench: &Bench) {
    for [batch, seq_len, c, vocab] in SHAPES {
        let n = batch * seq_len;
        let (table, positions) = (random(vocab * c, 1, 1.0), random((seq_len + 3) * c, 2, 1.0));
        let tokens = tokens(n, vocab);
        let places: Vec<u32> = (0..n).map(|i| (i % seq_len) as u32).collect();
        let y = bench.output(n * c);
        let (device_tokens, places) = (bench.input(&tokens), bench.input(&places));
        let (device_table, device_positions) = (bench.rounded(&table), bench.rounded(&positions));
        Forward {
            y: y.view_mut(),
            tokens: device_tokens.view(),
            positions: places.view(),
            token_table: device_table.view(),
            position_table: device_positions.view(),
            c,
        }
        .run(bench.device())
        .unwrap();

        let mut naive = vec![0f32; n * c];
        cpu::embedding::forward(&mut naive, &tokens, &table, &positions, seq_len, c);
        let mut truth = vec![0f64; n * c];
        cpu::embedding::forward(&mut truth, &tokens, &wide(&table), &wide(&positions), seq_len, c);
        assert_close("y", &bench.read(y.view()), &truth, &round(&naive));
    }
}

fn check_backward(bench: &Bench, [batch, seq_len, c, vocab]: [usize; 4], padded: usize) {
    let n = batch * seq_len;
    let tokens = tokens(n, vocab);
    let (dy, table, positions) = (random(n * c, 1, 1.0), random(padded * c, 2, 1.0), random((seq_len + 3) * c, 3, 1.0));
    let (mut order, mut starts) = (vec![0; n], vec![0; padded + 1]);
    embedding::sort(&tokens, padded, &mut order, &mut starts);
    let (device_table, device_positions) = (bench.input(&table), bench.input(&positions));
    let (device_dy, order, starts) = (bench.rounded(&dy), bench.input(&order), bench.input(&starts));
    let (dtable, dy_view) = (device_table.view_mut(), device_dy.view());
    BackwardTokens { dtable, dy: dy_view, order: order.view(), starts: starts.view(), c }.run(bench.device()).unwrap();
    let dtable = device_positions.view_mut();
    BackwardPositions { dtable, dy: dy_view, batch, seq_len, c }.run(bench.device()).unwrap();

    let (mut truth_table, mut truth_positions) = (wide(&table), wide(&positions));
    cpu::embedding::backward(&mut truth_table, &mut truth_positions, &wide(&dy), &tokens, seq_len, c);
    let (mut naive_table, mut naive_positions) = (table, positions);
    cpu::embedding::backward(&mut naive_table, &mut naive_positions, &dy, &tokens, seq_len, c);
    assert_close("token table", &bench.read(device_table.view()), &truth_table, &naive_table);
    assert_close("position table", &bench.read(device_positions.view()), &truth_positions, &naive_positions);
}

fn backward(bench: &Bench) {
    for [batch, seq_len, c, vocab] in SHAPES {
        check_backward(bench, [batch, seq_len, c, vocab], vocab.next_multiple_of(128));
    }
}

/// One block a token, whatever the channels.
fn a_large_vocabulary_mostly_absent(bench: &Bench) {
    for c in [72, 768, 1600] {
        check_backward(bench, [3, 5, c, 1200], 1280);
    }
}
