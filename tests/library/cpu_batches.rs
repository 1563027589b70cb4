//! The CPU engine gives a record the same surprisals, bit for bit, whatever is computed with it and on however many threads.

use logwright::cpu::CpuEngine;
use logwright::engine::Engine;
use logwright::gpt::{Config, Layout, init};
use logwright::score::sequence_surprisals;

/// Shapes at whose edges a product may take another path: few and odd columns, a vocabulary of one register and of less, sums of
/// more than the 512 terms that the GEMM library adds without a break (inputs of the head, keys of one query), and heads of 128.
const SHAPES: [Config; 5] = [
    Config { layers: 2, heads: 3, channels: 24, context: 40, vocab: 5, bias: true },
    Config { layers: 1, heads: 1, channels: 40, context: 96, vocab: 61, bias: false },
    Config { layers: 1, heads: 5, channels: 80, context: 130, vocab: 259, bias: true },
    Config { layers: 1, heads: 9, channels: 576, context: 24, vocab: 33, bias: false },
    Config { layers: 1, heads: 1, channels: 128, context: 700, vocab: 40, bias: false },
];

/// Records of one token, of a few, about one block of queries, about the context, and of several contexts.
fn records(config: &Config) -> Vec<Vec<u32>> {
    let context = config.context;
    let around =
        [1, 2, 3, 5, 12, 16, 17, 23, 31, 64, 66, context * 3 / 4, context - 1, context, context + 1, 2 * context + 3];
    let vocab = config.vocab as u32;
    let record =
        |(i, &length): (usize, &usize)| (0..length as u32).map(|t| (t * t + 7 * t + i as u32) % vocab).collect();
    around.iter().enumerate().map(record).collect()
}

/// The surprisals of the records, `together` at a time, each `batch` windows computed at once.
fn bits(engine: &mut dyn Engine, records: &[Vec<u32>], together: usize, batch: usize) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    for records in records.chunks(together) {
        let records: Vec<&[u32]> = records.iter().map(Vec::as_slice).collect();
        found.extend(sequence_surprisals(engine, 0, &records, batch).unwrap());
    }
    found.iter().map(|nats| nats.iter().map(|nats| nats.to_bits()).collect()).collect()
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn a_record_has_the_same_surprisals_in_every_batch() {
    for config in SHAPES {
        config.check().unwrap();
        let records = records(&config);
        let engine = || CpuEngine::new(config, init::parameters(&Layout::new(&config), 7));
        let alone = on_threads(1, || bits(&mut engine(), &records, 1, 1));
        // Every size of batch, and every number of threads with the largest.
        for (batch, threads) in [(2, 1), (3, 2), (7, 4), (16, 1), (16, 2), (16, 4)] {
            let together = on_threads(threads, || bits(&mut engine(), &records, records.len(), batch));
            for (alone, together) in alone.iter().zip(&together) {
                let (length, differs) = (alone.len(), alone.iter().zip(together).position(|(a, b)| a != b));
                assert_eq!(differs, None, "{config:?}: {length} tokens, batch {batch}, {threads} threads");
            }
        }
    }
}
