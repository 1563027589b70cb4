//! tokenizer.json: writes the three kinds of tokenizer, and reads them and the files of other programs.

use super::alphabet;
use super::kind::TokenizerKind;
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

pub const NAME: &str = "tokenizer.json";
pub const CONFIG_NAME: &str = "tokenizer_config.json";

fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})
}

fn document(added: Vec<Value>, pre_tokenizer: Value, decoder: Value, model: Value) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder, "model": model
    })
}

fn isolate(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn bpe_model(vocab: Map<String, Value>, merges: Vec<Value>) -> Value {
    json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges
    })
}

/// The 256 bytes, whose ids are their values, then `tokens`; all are written in the byte-level alphabet.
fn vocabulary(tokens: &[String]) -> Map<String, Value> {
    let bytes = (0..=255).map(|byte| alphabet::char_of(byte).to_string());
    bytes.chain(tokens.iter().cloned()).enumerate().map(|(id, token)| (token, json!(id))).collect()
}

/// The document of the byte tokenizer: 256 tokens, no merges.
pub fn bytes() -> Value {
    document(vec![], byte_level(), byte_level(), bpe_model(vocabulary(&[]), vec![]))
}

/// The document of a character tokenizer: one token per character, ids in the order of the code points.
pub fn chars(chars: &BTreeSet<char>) -> Value {
    let vocab: Map<String, Value> = chars.iter().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    // The model requires the name of an unknown token. The vocabulary has no such token, so an unknown character is an
    // error.
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "unknown character"});
    document(vec![], isolate(r"[\s\S]"), json!({"type": "Fuse"}), model)
}

/// The document of a byte-level BPE: `tokens` in the order of their ids from 256, then `entries`, which are matched as a
/// whole before the text is split.
pub fn bpe(patterns: &[String], tokens: &[String], merges: &[(String, String)], entries: &[String]) -> Value {
    let steps: Vec<Value> = patterns.iter().map(|p| isolate(p)).chain([byte_level()]).collect();
    let entry = |(i, content): (usize, &String)| {
        json!({"id": 256 + tokens.len() + i, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": false})
    };
    let added = entries.iter().enumerate().map(entry).collect();
    let merges = merges.iter().map(|(left, right)| json!([left, right])).collect();
    document(
        added,
        json!({"type": "Sequence", "pretokenizers": steps}),
        byte_level(),
        bpe_model(vocabulary(tokens), merges),
    )
}

/// tokenizer_config.json of a data folder, which `transformers.AutoTokenizer` needs.
pub fn config() -> Value {
    json!({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
           "model_max_length": 1_000_000_000})
}

/// tokenizer_config.json of a model with this context. Every record stands between newlines, so the newline begins and ends texts, and
/// fills shorter ones up from the left.
pub fn config_of_model(kind: TokenizerKind, context: usize) -> Value {
    let newline = newline(kind);
    json!({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "model_max_length": context,
           "bos_token": newline, "eos_token": newline, "pad_token": newline, "padding_side": "left"})
}

/// The document as `transformers` needs it for a model: each text begins behind a newline, as each record does in training. What this
/// program encodes does not change.
pub fn for_model(mut document: Value, kind: TokenizerKind, separator: u32) -> Value {
    let newline = newline(kind);
    let special = json!({"SpecialToken": {"id": newline, "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    document["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [special, text("A")], "pair": [special, text("A"), special, text("B")],
        "special_tokens": {&newline: {"id": newline, "ids": [separator], "tokens": [newline]}},
    });
    document
}

/// The newline as the vocabulary spells it.
fn newline(kind: TokenizerKind) -> String {
    if kind == TokenizerKind::Char { "\n".into() } else { alphabet::char_of(b'\n').into() }
}

/// The kind of a parsed tokenizer.json and the bytes of each id. Errors say why logwright cannot use the tokenizer; they do
/// not name the file.
pub fn read(json: &Value) -> Result<(TokenizerKind, Vec<Vec<u8>>)> {
    let model = &json["model"];
    let vocab =
        model["vocab"].as_object().ok_or_else(|| unusable("it has no model.vocab", "a BPE or WordLevel model"))?;
    let kind = match model["type"].as_str() {
        Some("WordLevel") => TokenizerKind::Char,
        Some("BPE") if vocab.len() == 256 && model["merges"].as_array().is_some_and(Vec::is_empty) => {
            TokenizerKind::Bytes
        }
        Some("BPE") => TokenizerKind::Bpe,
        other => {
            return Err(unusable(
                &format!("its model is {}", other.unwrap_or("unnamed")),
                "byte-level BPE or characters",
            ));
        }
    };
    if !json["normalizer"].is_null() {
        return Err(unusable("it normalizes text, so decoding would not restore the records", "no normalizer"));
    }
    if model["dropout"].as_f64().is_some_and(|share| share > 0.0) {
        return Err(unusable("its model.dropout skips merges at random", "dropout null"));
    }
    let added_tokens = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let mut ids = TokenTable { bytes: Vec::new(), below: GAPS + 2 * (vocab.len() + added_tokens.len()) };
    for (token, id) in vocab {
        let known = if kind == TokenizerKind::Char {
            one_char(token)
        } else {
            alphabet::unspell(token).or_else(|| added(json, token))
        };
        let known =
            known.ok_or_else(|| unusable(&format!("its token {token:?} has an unknown spelling"), expected(kind)))?;
        ids.place(id, known)?;
    }
    for token in added_tokens {
        if token["lstrip"] == true || token["rstrip"] == true {
            return Err(unusable(&format!("its token {} strips spaces", token["content"]), "lstrip and rstrip false"));
        }
        ids.place(&token["id"], token["content"].as_str().unwrap_or_default().into())?;
    }
    let bytes = ids.bytes;
    if kind == TokenizerKind::Char {
        check_chars(json, &bytes)?;
    } else {
        check_byte_level(json)?;
    }
    Ok((kind, bytes))
}

fn expected(kind: TokenizerKind) -> &'static str {
    if kind == TokenizerKind::Char { "one character per token" } else { "tokens in the byte-level alphabet" }
}

fn one_char(token: &str) -> Option<Vec<u8>> {
    (token.chars().count() == 1).then(|| token.into())
}

/// The bytes of a special token such as `<｜end｜>` that is in the vocabulary, too.
fn added(json: &Value, token: &str) -> Option<Vec<u8>> {
    json["added_tokens"].as_array()?.iter().any(|t| t["content"] == token).then(|| token.into())
}

/// The most tokens of a vocabulary.
pub const MOST_VOCABULARY: u64 = 1 << 24;

/// Largest number of ids that a tokenizer may leave out, besides as many as it has tokens.
const GAPS: usize = 1024;

/// The bytes of each id.
struct TokenTable {
    bytes: Vec<Vec<u8>>,
    /// Ids must lie below this: a damaged one must not ask for all memory.
    below: usize,
}

impl TokenTable {
    fn place(&mut self, id: &Value, token: Vec<u8>) -> Result<()> {
        let below = self.below.min(MOST_VOCABULARY as usize);
        let number = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < below);
        let number = number.ok_or_else(|| unusable(&format!("the token id {id}"), &format!("ids below {below}")))?;
        if self.bytes.len() <= number {
            self.bytes.resize(number + 1, Vec::new());
        }
        let there = &mut self.bytes[number];
        if !there.is_empty() && *there != token {
            return Err(unusable(&format!("two tokens have the id {id}"), "an id of its own for each token"));
        }
        *there = token;
        Ok(())
    }
}

fn check_chars(json: &Value, bytes: &[Vec<u8>]) -> Result<()> {
    if json["pre_tokenizer"] != isolate(r"[\s\S]") || bytes.iter().any(Vec::is_empty) {
        return Err(unusable(
            "its WordLevel model does not have one token per character",
            "a tokenizer that `prepare --tokenizer char` wrote",
        ));
    }
    Ok(())
}

/// Checks that the pre-tokenizer is byte-level and neither adds nor removes text; otherwise decoding does not restore it.
fn check_byte_level(json: &Value) -> Result<()> {
    let single = std::slice::from_ref(&json["pre_tokenizer"]);
    let steps = json["pre_tokenizer"]["pretokenizers"].as_array().map_or(single, Vec::as_slice);
    let Some(step) = steps.iter().find(|step| step["type"] == "ByteLevel") else {
        return Err(unusable("its BPE is not byte-level", "a ByteLevel pre-tokenizer"));
    };
    if step["add_prefix_space"] != false {
        return Err(unusable("it adds a space before every text", "add_prefix_space false"));
    }
    let removes =
        |step: &&Value| step["type"] == "Split" && step["behavior"] == "Removed" || step["type"] == "Whitespace";
    if let Some(step) = steps.iter().find(removes) {
        return Err(unusable(&format!("its pre-tokenizer {} drops text", step["type"]), "one that keeps every byte"));
    }
    Ok(())
}

fn unusable(found: &str, expected: &str) -> Error {
    Error::failed(format!("cannot use this tokenizer: {found}; expected {expected}"))
}
