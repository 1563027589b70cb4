//! A request and a model -> the records to generate. What the model cannot do is refused here, before anything is computed.

use super::super::fault::Fault;
use super::super::model::ServedModel;
use super::request::CompletionRequest;
use super::shown::ChoiceText;
use crate::sample::{Conditions, Constraint, GenerationRequest, Grammar, GrammarKind, Logprobs};
use crate::{Error, Result};
use std::sync::{Arc, PoisonError};

/// The records of a request, in the order of their numbers.
pub struct Plan<'a> {
    /// The request's, or a random one.
    pub seed: u64,
    pub requests: Vec<GenerationRequest>,
    pub texts: Vec<ChoiceText<'a>>,
    /// Tokens of all prompts.
    pub prompt_tokens: usize,
}

impl<'a> Plan<'a> {
    /// Record `i` of prompt `p` has the number `p n + i`, as those of `generate` have, and so the same text where all else is
    /// the same.
    pub fn new(asked: &CompletionRequest, model: &'a ServedModel) -> std::result::Result<Self, Fault> {
        let mut prompts: Vec<Vec<u8>> = asked.prompts.iter().map(|prompt| prompt.clone().into_bytes()).collect();
        let mut wanted = asked.wanted.clone();
        model.replace_names(&mut prompts, &mut wanted);
        let seed = asked.seed.map_or_else(random_seed, Ok)?;
        let conditions = Conditions::new(&model.records, &wanted, asked.days, seed).map_err(|error| {
            let param = if error.to_string().starts_with("--from") { "from" } else { "where" };
            Fault::of(param, in_members(&error))
        })?;
        let grammar = asked.grammar.as_ref().map(|kind| grammar(kind, model)).transpose()?;
        let mut grammar = grammar.as_ref().map(|grammar| grammar.lock().unwrap_or_else(PoisonError::into_inner));
        let mut plan = Plan { seed, requests: Vec::new(), texts: Vec::new(), prompt_tokens: 0 };
        for prompt in &prompts {
            let mut checked = None;
            for i in 0..asked.n {
                let begun = [conditions.prompt(i, asked.n).as_bytes(), prompt].concat();
                let constraint = grammar.as_deref_mut().map(|grammar| constraint(grammar, &conditions, i, asked.n));
                let constraint = constraint.transpose()?;
                let same = |(known, with): &(Vec<u8>, Option<Arc<Constraint>>)| {
                    *known == begun && with.as_ref().map(Arc::as_ptr) == constraint.as_ref().map(Arc::as_ptr)
                };
                if !checked.as_ref().is_some_and(same) {
                    let tokens = check(&begun, constraint.as_ref(), model)?;
                    plan.prompt_tokens += if i == 0 { tokens } else { 0 };
                    checked = Some((begun.clone(), constraint.clone()));
                }
                plan.add(asked, model, (begun, prompt.len()), constraint);
            }
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        asked: &CompletionRequest,
        model: &'a ServedModel,
        (begun, prompt): (Vec<u8>, usize),
        grammar: Option<Arc<Constraint>>,
    ) {
        let of = (&model.records, &model.tokenizer);
        self.texts.push(ChoiceText::new(of, begun.clone(), begun.len() - prompt, asked.echo));
        self.requests.push(GenerationRequest {
            prompt: begun,
            params: asked.params,
            max_tokens: asked.max_tokens,
            seed: self.seed,
            number: self.requests.len(),
            stop: asked.stop.clone(),
            grammar,
            logprobs: asked.logprobs.map(|top| Logprobs { top, of_prompt: asked.echo }),
        });
    }
}

fn random_seed() -> Result<u64> {
    let random = getrandom::u64().map_err(|e| Error::failed(format!("the system gives no random numbers: {e}")))?;
    // Short, so that every client can read it and give it back.
    Ok(random >> 33)
}

fn grammar(kind: &GrammarKind, model: &ServedModel) -> std::result::Result<Arc<std::sync::Mutex<Grammar>>, Fault> {
    if *kind == GrammarKind::Learnt && model.records.schema.is_none() {
        return Err(Fault::of(
            "response_format",
            "response_format: the model has learnt no schema, because its training records were not JSON; give a json_schema",
        ));
    }
    model.grammar(kind).map_err(|error| Fault::of("response_format", in_members(&error)))
}

/// The grammar of record `i` of `n`.
fn constraint(
    grammar: &mut Grammar,
    conditions: &Conditions,
    i: usize,
    n: usize,
) -> std::result::Result<Arc<Constraint>, Fault> {
    grammar.with(&conditions.fixed(i, n)).map_err(|error| Fault::of("response_format", in_members(&error)))
}

/// Refuses a beginning that the tokenizer cannot encode or the grammar does not allow; returns its number of tokens.
fn check(begun: &[u8], constraint: Option<&Arc<Constraint>>, model: &ServedModel) -> std::result::Result<usize, Fault> {
    let mut tokens = Vec::new();
    model.tokenizer.encode(begun, &mut tokens).map_err(|error| Fault::of("prompt", format!("prompt: {error}")))?;
    let read = constraint.map_or(Ok(()), |constraint| constraint.guide().read_prompt(&tokens, &[], &model.tokenizer));
    read.map_err(|read| {
        let length = begun.len();
        Fault::of(
            "prompt",
            format!(
                "prompt: the response_format allows no record that begins so: it accepts {read} of the {length} bytes of prefix and \
                 prompt; use its names in their order, the separators of the training records and the values of where"
            ),
        )
    })?;
    Ok(tokens.len())
}

/// Messages for the command line speak of flags; here these are members of the body.
fn in_members(error: &Error) -> String {
    let mut text = error.to_string();
    for (flag, member) in [
        ("--schema learned", "response_format learned"),
        ("--json", "response_format json_object"),
        ("--where", "where"),
        ("--from", "from"),
        ("--to", "to"),
    ] {
        text = text.replace(flag, member);
    }
    text
}
