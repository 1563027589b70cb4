//! Compiles grammars for one tokenizer.

use super::guide::Constraint;
use super::separators::Separators;
use super::{dialect, fixed, learnt, schema};
use crate::record::{Records, Wanted};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::sync::Arc;

pub struct GrammarCompiler {
    tokenizer: Tokenizer,
    vocab: usize,
    /// Whether records begin with text before their object.
    prefixed: bool,
    trie: TokEnv,
    factory: ParserFactory,
}

impl GrammarCompiler {
    /// `vocab` is the model's, which may be larger than the tokenizer's.
    pub fn new(tokenizer: &Tokenizer, vocab: usize, prefixed: bool) -> Result<Self> {
        let trie = trie(tokenizer, vocab);
        let slices = SlicedBiasComputer::json_slices();
        let mut factory =
            ParserFactory::new(&trie, InferenceCapabilities::default(), &slices).map_err(Error::failed)?;
        // Silent, because its messages contain text of records.
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            initial_lexer_fuel: 20_000_000,
            max_grammar_size: 2_000_000,
            // States take 1 to 2 kB each, by the crate's documentation: a record in progress takes 100 MB at worst.
            max_lexer_states: 50_000,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(GrammarCompiler { tokenizer: tokenizer.clone(), vocab, prefixed, trie, factory })
    }

    /// Any JSON object, with the wanted fields. `like` is a schema that tells where the names in their paths end.
    pub fn json(&self, separators: &Separators, wanted: &[Wanted], like: Option<&Value>) -> Result<Constraint> {
        let schema = fixed::in_any_object(wanted, like);
        let text = learnt::grammar(&schema, &separators.gaps(), self.prefixed, "--json")?;
        let start = self.compile(TopLevelGrammar::from_lark(text), &schema, "--json")?;
        Ok(self.constraint(start, false, true))
    }

    /// The objects that fit a JSON Schema, with properties in the schema's order. `name` is the schema's file, for messages.
    ///
    /// Errors: a schema that is invalid, not of an object or contradictory, or has keywords for which there is no grammar.
    pub fn schema(&self, schema: Value, name: &str, separators: &Separators, wanted: &[Wanted]) -> Result<Constraint> {
        let mut schema = schema::of_records(schema, name)?;
        let plain = schema.clone();
        dialect::translate(&mut schema, name)?;
        wanted.iter().for_each(|wanted| fixed::in_schema(&mut schema, wanted));
        self.drop_unwritable(&mut schema, name);
        separators.options().apply_to(&mut schema);
        let start = self.compile(TopLevelGrammar::from_json_schema(schema), &plain, name)?;
        Ok(self.constraint(start, true, true))
    }

    /// The records that fit the schema learnt from the training records, written as those are, with the wanted fields.
    ///
    /// Errors: a schema that was changed by hand in a way that `prepare` does not write.
    pub fn learnt(&self, records: &Records, name: &str, wanted: &[Wanted]) -> Result<Constraint> {
        let mut schema = schema::of_records(records.schema.clone().unwrap_or(Value::Bool(true)), name)?;
        for wanted in wanted {
            fixed::in_learnt(&mut schema, wanted).ok_or_else(|| {
                Error::usage(format!(
                    "--where, --from: the learnt schema has no member {}, which the condition is about; use --json, or no grammar",
                    wanted.field()
                ))
            })?;
        }
        self.drop_unwritable(&mut schema, name);
        let text = learnt::grammar(&schema, &records.gaps, self.prefixed, name)?;
        let start = self.compile(TopLevelGrammar::from_lark(text), &schema, name)?;
        Ok(self.constraint(start, false, false))
    }

    fn constraint(&self, start: Matcher, strict: bool, finite: bool) -> Constraint {
        let mut constraint = Constraint { trie: self.trie.clone(), start, opening: None, strict, finite };
        constraint.opening = self.prefixed.then(|| constraint.opening_tokens(&self.tokenizer, self.vocab));
        constraint
    }

    fn drop_unwritable(&self, schema: &mut Value, name: &str) {
        let is_writable = |text: &str| self.tokenizer.encode(text.as_bytes(), &mut Vec::new()).is_ok();
        let dropped = schema::drop_unwritable(schema, &is_writable);
        if dropped > 0 {
            tracing::warn!(
                "{name}: {dropped} names or values contain characters that this model's tokenizer lacks; they are not generated"
            );
        }
    }

    /// `schema` is what the grammar says, for messages.
    fn compile(&self, grammar: TopLevelGrammar, schema: &Value, name: &str) -> Result<Matcher> {
        let refused = |e: &dyn std::fmt::Display| schema::refusal(schema, name, &format!("{e:#}"));
        let parser = self.factory.create_parser(grammar).map_err(|e| refused(&e))?;
        let mut matcher = Matcher::new(Ok(parser));
        matcher.grammar_warnings().iter().for_each(|warning| tracing::warn!("{name}: {warning}"));
        // A start that allows nothing is an error of the schema, not of the model.
        matcher.compute_mask_or_eos().map_err(|e| refused(&e))?;
        Ok(matcher)
    }
}

/// The model's tokens by their bytes. The separator has no text, because it stands for the end of a record; tokens with the byte
/// 0xff, which the crate uses as a marker, are part of no JSON text.
fn trie(tokenizer: &Tokenizer, vocab: usize) -> TokEnv {
    let text = |token: u32| match tokenizer.token_bytes(token) {
        bytes if token == tokenizer.separator() || bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        bytes => bytes.to_vec(),
    };
    let words: Vec<Vec<u8>> = (0..vocab as u32).map(text).collect();
    let trie = TokTrie::from(&TokRxInfo::new(vocab as u32, tokenizer.separator()), &words);
    // Approximate: it accepts every division of text into tokens, so none is forced on the model.
    Arc::new(ApproximateTokEnv::new(trie))
}
