//! The whole CUDA engine against the CPU engine.

use crate::harness::{Bench, assert_close, on_devices, on_hopper};
use crate::naive::Naive;
use logwright::cpu::adamw::{self as cpu_adamw, Slices};
use logwright::cpu::model::Model;
use logwright::cpu::{CpuEngine, sampling};
use logwright::cuda::model::activations::Recompute;
use logwright::cuda::model::attention::AttentionKernels;
use logwright::cuda::model::engine::{CudaEngine, Options};
use logwright::cuda::perf::op_recorder::OpRecorder;
use logwright::cuda::perf::roofline;
use logwright::cuda::perf::roofline::Operation;
use logwright::engine::{AdamW, Batch, Engine, IGNORE, SampleRequest, SamplingParams, State};
use logwright::gpt::{Config, Layout, init};
use std::collections::BTreeMap;
use std::sync::Arc;

on_devices! {
    losses_and_gradients ten_steps runs_twice_alike recorded_and_plain_steps_agree
    recorded_and_plain_generation_agree recompute_levels_agree
    logits_and_losses_of_a_smaller_batch cache_gives_the_logits_of_the_forward_pass state_moves_between_engines
    a_step_that_is_not_finite_changes_nothing a_token_outside_the_vocabulary_is_an_error
    measured_draws_are_those_of_the_logits
}

// What depends on the attention kernels, which are others for head sizes 64 and 128.
on_hopper! {
    losses_and_gradients ten_steps runs_twice_alike recorded_and_plain_steps_agree
    logits_and_losses_of_a_smaller_batch cache_gives_the_logits_of_the_forward_pass
}

pub const PLAIN: Config = Config { layers: 2, heads: 2, channels: 64, context: 80, vocab: 82, bias: false };
pub const BIASED: Config = Config { layers: 2, heads: 1, channels: 64, context: 80, vocab: 200, bias: true };
pub const WIDE_HEADS: Config = Config { layers: 1, heads: 2, channels: 256, context: 70, vocab: 130, bias: true };
const CONFIGS: [Config; 3] = [PLAIN, BIASED, WIDE_HEADS];

/// The models of tests that take long: the usual ones, or those that have attention kernels of the device's own.
fn of_device(bench: &Bench, usual: &[Config]) -> Vec<Config> {
    match AttentionKernels::choose(bench.device(), BIASED.head_size()).unwrap() {
        AttentionKernels::Mma => usual.to_vec(),
        AttentionKernels::Hopper => vec![BIASED, WIDE_HEADS],
    }
}

/// Weights well away from their tiny initial values, and weights and biases that matter.
pub fn parameters(config: &Config) -> Vec<f32> {
    let mut parameters = init::parameters(&Layout::new(config), 3);
    let noise = crate::harness::random(parameters.len(), 9, 0.1);
    parameters.iter_mut().zip(noise).for_each(|(p, noise)| *p = half::bf16::from_f32(*p + noise).to_f32());
    parameters
}

pub fn tokens(config: &Config, n: usize, seed: u64) -> Vec<u32> {
    let noise = crate::harness::random(n, seed, 1.0);
    // Squares, so that some tokens are common and some are missing.
    noise.iter().map(|x| ((x * x) as f64 * config.vocab as f64 * 0.9) as u32).collect()
}

pub struct Data {
    tokens: Vec<u32>,
    targets: Vec<u32>,
    seq_len: usize,
}

impl Data {
    pub fn new(config: &Config, batch: usize, seq_len: usize, seed: u64) -> Self {
        let tokens = tokens(config, batch * seq_len, seed);
        let mut targets = self::tokens(config, batch * seq_len, seed + 100);
        targets.iter_mut().step_by(7).for_each(|target| *target = IGNORE);
        Data { tokens, targets, seq_len }
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch { tokens: &self.tokens, targets: &self.targets, seq_len: self.seq_len }
    }

    pub fn scale(&self) -> f32 {
        1.0 / self.batch().counted().max(1) as f32
    }
}

fn engine(bench: &Bench, config: Config, options: Options) -> CudaEngine {
    CudaEngine::new(bench.device.clone(), config, parameters(&config), options).unwrap()
}

fn read(engine: &dyn Engine, state: State) -> Vec<f32> {
    let mut values = vec![0.0; engine.layout().len];
    engine.read(state, &mut values).unwrap();
    values
}

pub fn step(step: u64) -> AdamW {
    AdamW { lr: 1e-3, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0, step }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x as f64).collect()
}

fn losses_and_gradients(bench: &Bench) {
    // The second computes again what it can, and has its logits in pieces of 7 rows, which do not divide the batch.
    let sparing = Options { recompute: Recompute::Norms, head_rows: Some(7), ..Options::default() };
    let all = [Options::default(), sparing, Options::default()];
    for ((config, seq_len), options) in CONFIGS.into_iter().zip([65, 17, 70]).zip(all) {
        let data = Data::new(&config, 3, seq_len, 1);
        let parameters = parameters(&config);
        let mut truth = Model::<f64>::new(config, wide(&parameters));
        let mut true_losses = vec![0.0; data.tokens.len()];
        truth.accumulate(data.batch(), &mut true_losses, data.scale() as f64);
        let mut naive = Naive::new(config, &parameters);
        let naive_losses = naive.accumulate(data.batch(), data.scale());

        let mut engine = engine(bench, config, options);
        let mut losses = vec![f32::NAN; data.tokens.len()];
        engine.losses(data.batch(), &mut losses).unwrap();
        assert_close("losses", &losses, &true_losses, &naive_losses);
        engine.accumulate(data.batch(), data.scale()).unwrap();
        let gradients = read(&engine, State::Gradients);
        for tensor in Layout::new(&config).tensors() {
            let of = |values: &[f32]| values[tensor.range.clone()].to_vec();
            let truth = &truth.gradients[tensor.range.clone()];
            assert_close(&tensor.name, &of(&gradients), truth, &of(&naive.gradients));
        }
    }
}

/// Losses and norms of ten steps of two micro-batches, by the naive model with f32 AdamW.
fn naive_steps(config: Config, batches: &[Data]) -> Vec<f32> {
    let mut parameters = parameters(&config);
    let layout = Layout::new(&config);
    let (mut first, mut second) = (vec![0.0; layout.len], vec![0.0; layout.len]);
    let steps = batches.chunks(2).enumerate().map(|(i, pair)| {
        let mut model = Naive::new(config, &parameters);
        let mut loss = 0.0;
        for data in pair {
            let losses = model.accumulate(data.batch(), data.scale() / 2.0);
            loss += losses.iter().sum::<f32>() * data.scale() / 2.0;
        }
        let norm = cpu_adamw::global_norm(&model.gradients);
        let clip = (1.0 / (norm + 1e-6)).min(1.0) as f32;
        let split = layout.decayed;
        for (range, decay) in [(0..split, 0.1), (split..layout.len, 0.0)] {
            let state = Slices {
                parameters: &mut parameters[range.clone()],
                gradients: &model.gradients[range.clone()],
                exp_avg: &mut first[range.clone()],
                exp_avg_sq: &mut second[range],
            };
            cpu_adamw::update(state, &step(i as u64 + 1), decay, clip);
        }
        [loss, norm as f32]
    });
    steps.flatten().collect()
}

fn engine_steps(engine: &mut dyn Engine, batches: &[Data]) -> Vec<f64> {
    let steps = batches.chunks(2).enumerate().map(|(i, pair)| {
        pair.iter().for_each(|data| engine.accumulate(data.batch(), data.scale() / 2.0).unwrap());
        let update = engine.update(&step(i as u64 + 1)).unwrap();
        [update.loss, update.norm]
    });
    steps.flatten().collect()
}

/// Twenty micro-batches of one shape, so that the recorded step is replayed.
fn batches(config: &Config) -> Vec<Data> {
    (0..20).map(|i| Data::new(config, 2, 33, i)).collect()
}

fn ten_steps(bench: &Bench) {
    for config in of_device(bench, &[PLAIN, BIASED]) {
        let batches = batches(&config);
        let truth = engine_steps(&mut CpuEngine::new(config, parameters(&config)), &batches);
        let found = engine_steps(&mut engine(bench, config, Options::default()), &batches);
        let narrow: Vec<f32> = found.iter().map(|&x| x as f32).collect();
        assert_close("losses and norms of ten steps", &narrow, &truth, &naive_steps(config, &batches));
    }
}

fn trained_state(bench: &Bench, options: Options) -> Vec<(Vec<f64>, [Vec<f32>; 3])> {
    let trained = |config| {
        let mut engine = engine(bench, config, options);
        let reports = engine_steps(&mut engine, &batches(&config)[..6]);
        (reports, [State::Parameters, State::ExpAvg, State::ExpAvgSq].map(|state| read(&engine, state)))
    };
    of_device(bench, &[BIASED]).into_iter().map(trained).collect()
}

fn runs_twice_alike(bench: &Bench) {
    assert_eq!(trained_state(bench, Options::default()), trained_state(bench, Options::default()));
}

fn recorded_and_plain_steps_agree(bench: &Bench) {
    let eager = Options { eager: true, ..Options::default() };
    assert_eq!(trained_state(bench, Options::default()), trained_state(bench, eager));
}

/// Steps of two numbers of sequences take turns with prompts and with several tokens at once.
fn recorded_and_plain_generation_agree(bench: &Bench) {
    let eager = Options { eager: true, ..Options::default() };
    let [mut recorded, mut plain] = [Options::default(), eager].map(|options| engine(bench, PLAIN, options));
    let one: &[u32] = &[3];
    let both: &[(usize, &[u32])] = &[(0, one), (2, &[8])];
    let passes: [&[(usize, &[u32])]; 11] = [
        &[(0, &[1, 2]), (2, &[3, 4, 5])],
        both,
        both,
        &[(2, one)],
        both,
        &[(1, &[5, 6, 7]), (0, &[9, 10])],
        &[(2, one)],
        &[(1, one), (0, &[11])],
        &[(2, one)],
        both,
        &[(1, one), (2, &[12])],
    ];
    [&mut recorded, &mut plain].into_iter().for_each(|engine| engine.open_cache(3).unwrap());
    for (i, sequences) in passes.into_iter().enumerate() {
        let logits = [&mut recorded, &mut plain].map(|engine| {
            let mut logits = vec![f32::NAN; sequences.len() * PLAIN.vocab];
            engine.extend(sequences, &mut logits).unwrap();
            logits
        });
        assert!(logits[0] == logits[1] && logits[0].iter().all(|x| x.is_finite()), "pass {i}");
    }
}

/// The third token of a number of sequences is a replay: no kernel is queued by itself but the draw. Few such steps are kept.
#[test]
fn generation_replays_what_it_has_recorded() {
    let watched = Arc::new(OpRecorder::new(Bench::emulator(0).device.clone()));
    let mut engine = CudaEngine::new(watched.clone(), PLAIN, parameters(&PLAIN), Options::default()).unwrap();
    engine.open_cache(10).unwrap();
    let params = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
    let draws = [SampleRequest { params, uniform: 0.5, allowed: None }; 10];
    let mut is_replay = |sequences: usize| {
        watched.take();
        let sequences: Vec<(usize, &[u32])> = (0..sequences).map(|slot| (slot, [7].as_slice())).collect();
        let mut drawn = vec![0; sequences.len()];
        engine.sample(&sequences, &draws[..sequences.len()], &mut drawn).unwrap();
        ran(&watched) == BTreeMap::from([("sampling_draw".to_string(), 1)])
    };
    assert_eq!([2, 2, 2, 2].map(&mut is_replay), [false, false, true, true]);
    assert_eq!([3, 3, 2, 3].map(&mut is_replay), [false, false, true, true]);
    (3..=10).for_each(|sequences| assert_eq!(is_replay(sequences), sequences == 3));
    assert!(!is_replay(2), "the steps of eight other numbers came in between");
}

/// Running a block again gives its very bits. GELU computed again starts from rounded values, where the fused product had the
/// sums, so those levels agree among themselves only (and with the truth as the others do).
fn recompute_levels_agree(bench: &Bench) {
    let at = |recompute| trained_state(bench, Options { recompute, ..Options::default() });
    assert_eq!(at(Recompute::Nothing), at(Recompute::Blocks));
    assert_eq!(at(Recompute::Gelu), at(Recompute::Norms));
}

/// Buffers made for a large batch serve a small one, and what it leaves behind does not show.
fn logits_and_losses_of_a_smaller_batch(bench: &Bench) {
    of_device(bench, &[PLAIN]).into_iter().for_each(|config| logits_and_losses_after_others(bench, config));
}

fn logits_and_losses_after_others(bench: &Bench, config: Config) {
    let (large, small) = (Data::new(&config, 3, 70, 1), Data::new(&config, 3, 5, 2));
    let run = |before: Option<&Data>| {
        let mut engine = engine(bench, config, Options::default());
        if let Some(data) = before {
            engine.accumulate(data.batch(), data.scale()).unwrap();
        }
        let (mut losses, mut logits) = (vec![f32::NAN; 15], vec![f32::NAN; 15 * config.vocab]);
        engine.losses(small.batch(), &mut losses).unwrap();
        engine.logits(&small.tokens, small.seq_len, &mut logits).unwrap();
        assert!(losses.iter().chain(&logits).all(|x| x.is_finite()));
        (losses, logits)
    };
    assert_eq!(run(None), run(Some(&large)));
}

fn cache_gives_the_logits_of_the_forward_pass(bench: &Bench) {
    for config in CONFIGS {
        let (vocab, seq_len) = (config.vocab, 40);
        let streams: Vec<Vec<u32>> = (0..3).map(|i| tokens(&config, seq_len, i)).collect();
        let mut reference = Model::<f64>::new(config, wide(&parameters(&config)));
        let mut engine = engine(bench, config, Options::default());
        engine.open_cache(3).unwrap();
        // A prompt, a single token and a prompt cut in two; then single tokens; then many at once behind what is there.
        let cuts: [&[(usize, usize, usize)]; 4] = [
            &[(0, 0, 20), (2, 0, 1), (1, 0, 9)],
            &[(1, 9, 20), (0, 20, 21)],
            &[(2, 1, 2), (0, 21, 22), (1, 20, 21)],
            &[(0, 22, 40), (1, 21, 22)],
        ];
        for cut in cuts {
            let sequences: Vec<(usize, &[u32])> =
                cut.iter().map(|&(slot, a, b)| (slot, &streams[slot][a..b])).collect();
            let mut logits = vec![f32::NAN; cut.len() * vocab];
            engine.extend(&sequences, &mut logits).unwrap();
            for (&(slot, _, end), logits) in cut.iter().zip(logits.chunks_exact(vocab)) {
                assert_eq!(engine.cached(slot), end);
                let seen = &streams[slot][..end];
                let mut truth = vec![0.0; end * vocab];
                reference.logits(seen, end, &mut truth);
                // The engine's own forward pass is as naive as a cache can be.
                let mut whole = vec![f32::NAN; end * vocab];
                engine.logits(seen, end, &mut whole).unwrap();
                let last = (end - 1) * vocab..;
                assert_close("logits", logits, &truth[last.clone()], &whole[last]);
            }
        }
        engine.forget(0);
        assert_eq!(engine.cached(0), 0);
    }
}

fn measured_draws_are_those_of_the_logits(bench: &Bench) {
    let [mut measured, mut extended] = [(); 2].map(|_| engine(bench, PLAIN, Options::default()));
    measured.open_cache(2).unwrap();
    extended.open_cache(2).unwrap();
    let params = SamplingParams { temperature: 0.7, top_k: 0, top_p: 1.0 };
    let allowed = [0b1011_0000, 0, 1];
    let draws =
        [(0.3, None), (0.9, Some(&allowed[..]))].map(|(uniform, allowed)| SampleRequest { params, uniform, allowed });
    let (mut tokens, mut shares, mut logits) = ([0; 2], [f64::NAN; 2], vec![f32::NAN; 2 * PLAIN.vocab]);
    let mut handed_out = logits.clone();
    for sequences in [[(1, &[1, 2, 3][..]), (0, &[4, 5])], [(1, &[6]), (0, &[7])]] {
        measured.sample_measured(&sequences, &draws, &mut handed_out, &mut tokens, &mut shares).unwrap();
        extended.extend(&sequences, &mut logits).unwrap();
        assert_eq!(handed_out, logits);
        let (mut same_tokens, mut same_shares) = ([0; 2], [f64::NAN; 2]);
        sampling::draw_measured(&logits, &draws, &mut same_tokens, &mut same_shares);
        assert_eq!((tokens, shares), (same_tokens, same_shares));
        assert!(shares[0] == 1.0 && shares[1] < 0.5 && [4, 5, 7, 64].contains(&tokens[1]), "{tokens:?} {shares:?}");
    }
}

fn state_moves_between_engines(bench: &Bench) {
    let batches = batches(&BIASED);
    let mut cuda = engine(bench, BIASED, Options::default());
    engine_steps(&mut cuda, &batches[..6]);
    let states = [State::Parameters, State::ExpAvg, State::ExpAvgSq];
    let mut cpu = CpuEngine::new(BIASED, vec![0.0; Layout::new(&BIASED).len]);
    states.iter().for_each(|&state| cpu.write(state, &read(&cuda, state)).unwrap());
    let mut again = engine(bench, BIASED, Options::default());
    states.iter().for_each(|&state| again.write(state, &read(&cpu, state)).unwrap());
    for state in states {
        assert_eq!(read(&again, state), read(&cuda, state), "{state:?}");
    }
    // What came through the CPU engine goes on bit for bit.
    assert_eq!(engine_steps(&mut again, &batches[6..10]), engine_steps(&mut cuda, &batches[6..10]));
}

fn a_step_that_is_not_finite_changes_nothing(bench: &Bench) {
    let mut engine = engine(bench, PLAIN, Options::default());
    let data = Data::new(&PLAIN, 1, 9, 1);
    engine.accumulate(data.batch(), data.scale()).unwrap();
    assert!(engine.update(&step(1)).unwrap().is_finite());
    let before = read(&engine, State::Parameters);
    engine.accumulate(data.batch(), f32::INFINITY).unwrap();
    assert!(!engine.update(&step(2)).unwrap().is_finite());
    assert_eq!(read(&engine, State::Parameters), before);
    engine.accumulate(data.batch(), data.scale()).unwrap();
    assert!(engine.update(&step(2)).unwrap().is_finite());
    assert_ne!(read(&engine, State::Parameters), before);
}

fn a_token_outside_the_vocabulary_is_an_error(bench: &Bench) {
    let mut engine = engine(bench, PLAIN, Options::default());
    let mut data = Data::new(&PLAIN, 1, 9, 1);
    data.targets[3] = PLAIN.vocab as u32;
    let message = engine.accumulate(data.batch(), 1.0).unwrap_err().to_string();
    assert!(message.contains("token 82") && message.contains("vocabulary"), "{message}");
}

#[test]
fn a_head_size_without_a_kernel_is_refused() {
    let config = Config { heads: 8, ..PLAIN };
    let bench = Bench::emulator(0);
    let error = CudaEngine::new(bench.device.clone(), config, parameters(&config), Options::default()).err().unwrap();
    assert!(error.to_string().contains("this model's is 8"), "{error}");
}

/// The roofline lists the very operations of a step, as often as they happen.
#[test]
fn the_roofline_lists_what_a_step_runs() {
    let [ampere, hopper] = [Bench::emulator(0), Bench::hopper(0)];
    let large_vocab = Config { vocab: 2500, ..BIASED };
    for (bench, config, batch, seq_len, kernels) in [
        (&ampere, PLAIN, 3, 65, AttentionKernels::Mma),
        (&ampere, BIASED, 2, 17, AttentionKernels::Mma),
        (&ampere, large_vocab, 1, 33, AttentionKernels::Mma),
        (&hopper, PLAIN, 1, 9, AttentionKernels::Mma),
        (&hopper, BIASED, 2, 17, AttentionKernels::Hopper),
        (&hopper, WIDE_HEADS, 1, 33, AttentionKernels::Hopper),
    ] {
        let (watched, mut engine) = watched(bench, config);
        let data = Data::new(&config, batch, seq_len, 1);
        engine.accumulate(data.batch(), data.scale()).unwrap();
        engine.update(&step(1)).unwrap();
        assert_eq!(counted(roofline::step(&config, batch, seq_len, kernels)), ran(&watched));
    }
}

/// The same for a generated token.
#[test]
fn the_roofline_lists_what_a_token_runs() {
    for (config, slots) in [(PLAIN, 1), (BIASED, 9)] {
        let (watched, mut engine) = watched(&Bench::emulator(0), config);
        engine.open_cache(slots).unwrap();
        let params = SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 };
        let draws = vec![SampleRequest { params, uniform: 0.5, allowed: None }; slots];
        let mut drawn = vec![0; slots];
        for tokens in [[1u32, 2].as_slice(), &[3]] {
            watched.take();
            let sequences: Vec<(usize, &[u32])> = (0..slots).map(|slot| (slot, tokens)).collect();
            engine.sample(&sequences, &draws, &mut drawn).unwrap();
        }
        assert_eq!(counted(roofline::token(&config, slots)), ran(&watched));
    }
}

/// An engine whose operations are noted, none of them yet.
fn watched(bench: &Bench, config: Config) -> (Arc<OpRecorder>, CudaEngine) {
    let watched = Arc::new(OpRecorder::new(bench.device.clone()));
    let options = Options { eager: true, recompute: roofline::RECOMPUTE, ..Options::default() };
    let engine = CudaEngine::new(watched.clone(), config, parameters(&config), options).unwrap();
    watched.take();
    (watched, engine)
}

fn counted(listed: Vec<Operation>) -> BTreeMap<String, usize> {
    listed.into_iter().map(|row| (row.name, row.count)).collect()
}

fn ran(watched: &OpRecorder) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    watched.take().iter().for_each(|work| *counts.entry(work.name()).or_default() += 1);
    counts
}
