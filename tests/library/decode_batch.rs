//! Continuous batching on the CPU engine: what a record says does not depend on what is in progress beside it.

use logwright::cpu::CpuEngine;
use logwright::engine::{Batch, Engine};
use logwright::gpt::{Config, Layout, init};
use logwright::sample::{
    Control, DecodeBatch, Finish, GeneratedRecord, GenerationRequest, GenerationSettings, Logprobs, SampleId,
    SamplingParams, TokenLogprob, generate,
};
use logwright::tokens::Tokenizer;
use std::collections::BTreeMap;

/// A model of few characters, so that records end soon; three of its tokens stand for nothing.
fn model() -> (CpuEngine, Tokenizer) {
    let tokenizer = Tokenizer::chars(&"abcdefg€".chars().collect());
    let config = Config { layers: 2, heads: 2, channels: 16, context: 24, vocab: 12, bias: true };
    let parameters = init::parameters(&Layout::new(&config), 4).iter().map(|p| p * 2.5).collect();
    (CpuEngine::new(config, parameters), tokenizer)
}

fn request(prompt: &str, number: usize) -> GenerationRequest {
    GenerationRequest {
        prompt: prompt.into(),
        params: SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0 },
        max_tokens: 40,
        seed: 5,
        number,
        stop: vec![],
        grammar: None,
        logprobs: None,
    }
}

/// Everything that became known of a record.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    text: String,
    tokens: Vec<TokenLogprob>,
    finished: Option<(GeneratedRecord, Finish)>,
}

/// Steps once, and adds what happened.
fn step(batch: &mut DecodeBatch, engine: &mut CpuEngine, outcomes: &mut BTreeMap<SampleId, Outcome>) {
    for progress in batch.step(engine).unwrap() {
        let outcome = outcomes.entry(progress.id).or_default();
        assert_eq!(outcome.finished, None, "nothing comes behind the end");
        outcome.text += &progress.text;
        outcome.tokens.extend(progress.token);
        outcome.finished = progress.finished;
    }
}

fn alone(request: &GenerationRequest) -> Outcome {
    let (mut engine, tokenizer) = model();
    let mut batch = DecodeBatch::new(&mut engine, &tokenizer, 1).unwrap();
    let id = batch.admit(request.clone()).unwrap();
    let mut outcomes = BTreeMap::new();
    while batch.active() > 0 {
        step(&mut batch, &mut engine, &mut outcomes);
    }
    outcomes.remove(&id).unwrap()
}

fn record(outcome: &Outcome) -> &GeneratedRecord {
    &outcome.finished.as_ref().unwrap().0
}

/// Requests that differ in everything.
fn requests() -> Vec<GenerationRequest> {
    let mut requests: Vec<_> = (0..9).map(|number| request(["", "abc", "gg€a"][number % 3], number)).collect();
    requests[1].params = SamplingParams { temperature: 0.5, top_k: 4, top_p: 0.9 };
    requests[2].max_tokens = 3;
    requests[3].logprobs = Some(Logprobs { top: 2, of_prompt: false });
    requests[4].logprobs = Some(Logprobs { top: 0, of_prompt: true });
    requests[5].stop = vec!["e".into(), "ab".into()];
    requests[6].seed = 77;
    requests[7].max_tokens = 0;
    requests[8].params.temperature = 0.0;
    requests[8].prompt = "abcdefg".repeat(5).into();
    requests
}

#[test]
fn a_record_does_not_depend_on_what_is_beside_it() {
    let requests = requests();
    let expected: Vec<Outcome> = requests.iter().map(alone).collect();
    let (mut engine, tokenizer) = model();
    for (slots, pause) in [(3, 0), (4, 3), (9, 1), (2, 5)] {
        let mut batch = DecodeBatch::new(&mut engine, &tokenizer, slots).unwrap();
        let (mut outcomes, mut ids, mut steps) = (BTreeMap::new(), Vec::new(), 0);
        while batch.active() > 0 || ids.len() < requests.len() {
            if batch.has_room() && ids.len() < requests.len() && steps >= ids.len() * pause {
                ids.push(batch.admit(requests[ids.len()].clone()).unwrap());
            }
            step(&mut batch, &mut engine, &mut outcomes);
            // Scoring between the steps.
            let (tokens, targets) = ([0, 1, 2, 3], [1, 2, 3, 4]);
            engine.losses(Batch { tokens: &tokens, targets: &targets, seq_len: 4 }, &mut [0.0; 4]).unwrap();
            steps += 1;
        }
        for (number, (id, expected)) in ids.iter().zip(&expected).enumerate() {
            let found = &outcomes[id];
            assert_eq!((&found.text, &found.finished), (&expected.text, &expected.finished), "{slots}, {number}");
            assert_eq!(found.tokens.len(), expected.tokens.len());
        }
    }
    let lengths: std::collections::BTreeSet<usize> = expected.iter().map(|outcome| record(outcome).tokens).collect();
    assert!(lengths.len() >= 5, "the records differ in length: {lengths:?}");
    for (request, outcome) in requests.iter().zip(&expected) {
        let whole = String::from_utf8(record(outcome).text.clone()).unwrap();
        assert_eq!(whole, String::from_utf8_lossy(&request.prompt) + outcome.text.as_str(), "pieces join to the text");
    }
}

#[test]
fn the_loop_over_prompts_is_the_same_generation() {
    let (mut engine, tokenizer) = model();
    let settings = GenerationSettings { params: request("", 0).params, max_tokens: 40, seed: 5, first: 3, parallel: 4 };
    let prompts = (0..12).map(|number| ["", "abc", "gg€a"][number % 3].as_bytes().to_vec());
    let mut records = Vec::new();
    let mut sink = |record| {
        records.push(record);
        Ok(())
    };
    generate(&mut engine, &tokenizer, prompts, &settings, Control::default(), &mut sink).unwrap();
    for (number, found) in (3..).zip(&records) {
        assert_eq!(found, record(&alone(&request(["", "abc", "gg€a"][number % 3], number))));
    }
    assert_eq!(records.len(), 12);
}

#[test]
fn a_stop_sequence_ends_a_record_and_is_left_out() {
    let whole = alone(&request("abc", 1));
    let text = &whole.text;
    assert!(text.chars().count() >= 6, "long enough to be stopped: {text}");
    // The last two characters of the first five, found at the latest there.
    let stop: String = text.chars().skip(3).take(2).collect();
    let stopped = alone(&GenerationRequest { stop: vec![stop.clone()], ..request("abc", 1) });
    assert_eq!(stopped.text, text[..text.find(&stop).unwrap()]);
    assert_eq!(stopped.finished.as_ref().unwrap().1, Finish::StopSequence);
    assert_eq!(record(&stopped).text, ("abc".to_string() + &stopped.text).into_bytes());
    // Only what is generated is looked at.
    assert!(alone(&GenerationRequest { stop: vec!["abc".into()], ..request("abc", 1) }).text.starts_with(&text[..1]));
}

#[test]
fn log_probabilities_are_minus_the_losses_and_change_nothing() {
    let plain = alone(&request("ab€", 4));
    let (mut engine, tokenizer) = model();
    for of_prompt in [false, true] {
        let found = alone(&GenerationRequest { logprobs: Some(Logprobs { top: 3, of_prompt }), ..request("ab€", 4) });
        assert_eq!((&found.text, &found.finished), (&plain.text, &plain.finished));
        let mut tokens = vec![tokenizer.separator()];
        tokenizer.encode(&record(&found).text, &mut tokens).unwrap();
        assert!(tokens.len() < 24, "the record fits the context: {tokens:?}");
        let mut losses = vec![0.0; tokens.len() - 1];
        let batch = Batch { tokens: &tokens[..losses.len()], targets: &tokens[1..], seq_len: losses.len() };
        engine.losses(batch, &mut losses).unwrap();
        // Of a prompt that the model begins to write again at its last token.
        let known = if of_prompt { 0 } else { 2 };
        assert_eq!(found.tokens.len(), losses.len() - known);
        for ((token, id), loss) in found.tokens.iter().zip(&tokens[known + 1..]).zip(&losses[known..]) {
            assert_eq!(token.token, *id);
            assert!((token.logprob + f64::from(*loss)).abs() < 1e-4, "{token:?} {loss}");
            assert!(token.top.len() == 3 && token.top[0].1 >= token.logprob);
        }
    }
}

#[test]
fn a_cancelled_record_leaves_its_slot_to_another() {
    let (mut engine, tokenizer) = model();
    let mut batch = DecodeBatch::new(&mut engine, &tokenizer, 2).unwrap();
    let mut outcomes = BTreeMap::new();
    let [kept, dropped] = [1, 2].map(|number| batch.admit(request("abc", number)).unwrap());
    assert!(!batch.has_room());
    step(&mut batch, &mut engine, &mut outcomes);
    batch.cancel(dropped);
    assert!(batch.has_room() && batch.active() == 1);
    let next = batch.admit(request("gg€a", 5)).unwrap();
    while batch.active() > 0 {
        step(&mut batch, &mut engine, &mut outcomes);
    }
    assert_eq!(outcomes[&kept], Outcome { tokens: vec![], ..alone(&request("abc", 1)) });
    assert_eq!(outcomes[&next].text, alone(&request("gg€a", 5)).text);
    assert_eq!(outcomes[&dropped].finished, None);
}

#[test]
fn an_engine_that_fails_leaves_nothing_in_progress() {
    let (mut engine, tokenizer) = model();
    let broken = vec![f32::NAN; engine.layout().len];
    engine.write(logwright::engine::State::Parameters, &broken).unwrap();
    let mut batch = DecodeBatch::new(&mut engine, &tokenizer, 2).unwrap();
    batch.admit(request("abc", 1)).unwrap();
    assert!(batch.step(&mut engine).unwrap_err().to_string().contains("not finite"));
    assert_eq!(batch.active(), 0);
    assert!(batch.admit(request("x", 1)).unwrap_err().to_string().contains("'x'"), "a character the model lacks");
    assert_eq!(batch.active(), 0);
}
