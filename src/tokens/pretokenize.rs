//! How a log record is cut before byte-level BPE merges bytes inside each piece: the log-aware pre-tokenization.
//!
//! Logs are not prose. Three kinds of text alternate in a record, and each wants another treatment:
//! * the *junctions* of JSON (`", "isInteractive": false, "tokenIssuerName": "`) recur by the thousand and may grow into
//!   one long token; they end where a value begins, so a token never belongs to two fields and a prompt such as
//!   `{"time": "` ends on a token border;
//! * *identifiers* (UUIDs, hashes, keys, times, addresses, counts) are random: merged with what stands beside them they make
//!   tokens that were seen once, and records that break. They are cut off from their surroundings, then cut from their
//!   start into chunks of equal length, so that every UUID is the same number of tokens and a small model can count;
//! * everything left (names, messages, user agents, paths) merges freely, across spaces too: closed categories
//!   such as `Mobile Apps and Desktop clients` become one token.
//!
//! `scripts/pretokenization_study.py` measures this against GPT-2's splitting, none, digits alone and other mixtures.
//! The patterns use only syntax that means the same in Rust (fancy-regex) and Python (Oniguruma); the first has no
//! look-around, so that Rust runs it as an automaton.

/// 8-4-4-4-12 hexadecimal digits.
pub const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
/// Hashes and trace ids.
pub const HASH: &str = "[0-9a-f]{16,}|[0-9A-F]{16,}";
/// Letters and digits in turns (keys, tokens, instance ids), but not a word with a number at one end (`TLSv1`, `77th`).
pub const KEY: &str = "[A-Za-z]*[0-9]+[A-Za-z]+[0-9]+[A-Za-z0-9]*";
/// ISO 8601 with or without a fraction.
pub const TIME: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?";
/// Addresses and clock times (three groups up), coordinates (three decimals up), counts (three digits up). Shorter
/// numbers are mostly parts of names (`Windows 10`, `HTTP/1.1`) and stay with their text.
pub const NUMBER: &str = r"[0-9]+(?:[.:][0-9]+){2,}|[0-9]+\.[0-9]{3,}|[0-9]{3,}";

/// From the end of one JSON value to the start of the next: closing quote, brackets, keys, fixed words, opening quote.
fn junction() -> String {
    let brackets = r"[\]},{\[ ]*";
    let key = r#""[A-Za-z0-9_.@$/ -]+": ?"#;
    format!(r#""?{brackets}(?:{key}{brackets}(?:(?:true|false|null|""){brackets})?)+"?|"[\]}}]+"#)
}

/// Length of the chunks that identifiers are cut into: 1 where the vocabulary has no room for all pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    pub digits: usize,
    pub hex: usize,
}

/// Isolates newlines, junctions and whole identifiers: the first cut.
pub fn coarse() -> String {
    format!(r"\n|{}|{UUID}|{TIME}|{HASH}|{KEY}|{NUMBER}", junction())
}

/// All cuts, in order: `coarse`, then the chunks inside numbers, hexadecimal identifiers and keys.
pub fn splits(chunks: Chunks) -> Vec<String> {
    let Chunks { digits, hex } = chunks;
    vec![
        coarse(),
        chunked(&format!("{TIME}|{NUMBER}"), &format!("[0-9]{{1,{digits}}}|[^0-9]")),
        chunked(&format!("{UUID}|{HASH}"), &format!("[0-9a-fA-F]{{1,{hex}}}|-")),
        chunked(KEY, "[A-Za-z0-9]"),
    ]
}

/// Matches `piece` after `piece` from the start (`\A`, then where the last match ended, `\G`) of a text that is `whole`
/// from end to end, and nothing in any other text.
fn chunked(whole: &str, piece: &str) -> String {
    format!("{CHUNKED_START}{whole}{CHUNKED_MIDDLE}{piece}{CHUNKED_END}")
}

const CHUNKED_START: &str = r"(?:\A(?=(?:";
const CHUNKED_MIDDLE: &str = r")\z)|(?!\A)\G)(?:";
const CHUNKED_END: &str = ")";

/// `whole` and `piece` of a pattern that `chunked` made.
pub fn unchunked(pattern: &str) -> Option<(&str, &str)> {
    pattern.strip_prefix(CHUNKED_START)?.strip_suffix(CHUNKED_END)?.split_once(CHUNKED_MIDDLE)
}
