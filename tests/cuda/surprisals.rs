//! Scoring on the CUDA engine: records of any length fill a batch, and none depends on what is computed with it.

use crate::engine::{BIASED, PLAIN, WIDE_HEADS, parameters, tokens};
use crate::harness::Bench;
use logwright::cuda::model::engine::{CudaEngine, Options};
use logwright::gpt::Config;
use logwright::score::sequence_surprisals;

/// Records of one token, of a few, about the context, and of several contexts.
fn records(config: &Config) -> Vec<Vec<u32>> {
    let context = config.context;
    let lengths = [1, 2, 3, 8, 9, 16, 17, 30, 31, 33, 63, 64, 65, context - 1, context, context + 1, 2 * context + 3];
    lengths.iter().zip(1..).map(|(&length, seed)| tokens(config, length, seed)).collect()
}

/// The surprisals of the records, `together` at a time.
fn bits(bench: &Bench, config: Config, together: usize, batch: usize) -> Vec<Vec<u32>> {
    let mut engine = CudaEngine::new(bench.device.clone(), config, parameters(&config), Options::default()).unwrap();
    let mut found = Vec::new();
    for records in records(&config).chunks(together) {
        let records: Vec<&[u32]> = records.iter().map(Vec::as_slice).collect();
        found.extend(sequence_surprisals(&mut engine, 0, &records, batch).unwrap());
    }
    found.iter().map(|nats| nats.iter().map(|nats| nats.to_bits()).collect()).collect()
}

#[test]
fn a_record_has_the_same_surprisals_in_every_batch() {
    for (bench, config) in [
        (Bench::emulator(0), PLAIN),
        (Bench::emulator(5), WIDE_HEADS),
        (Bench::hopper(0), BIASED),
        (Bench::hopper(5), WIDE_HEADS),
    ] {
        let alone = bits(&bench, config, 1, 1);
        assert!(alone.iter().flatten().all(|&bits| f32::from_bits(bits).is_finite()));
        for (together, batch) in [(usize::MAX, 1), (usize::MAX, 3), (5, 2)] {
            for (alone, together) in alone.iter().zip(bits(&bench, config, together, batch)) {
                let differs = alone.iter().zip(&together).position(|(a, b)| a != b);
                assert_eq!(differs, None, "{config:?}: {} tokens, batch {batch}", alone.len());
            }
        }
    }
}
