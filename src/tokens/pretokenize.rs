//! The log-aware pre-tokenization: it splits a record into pieces, inside of which byte-level BPE merges bytes.
//!
//! Logs are not prose. Three kinds of text alternate in a record, and each needs a different treatment:
//! * The *junctions* of JSON (`", "isInteractive": false, "tokenIssuerName": "`) recur by the thousand and may become one
//!   long token. They end where a value begins, so that a token never belongs to two fields and a prompt such as
//!   `{"time": "` ends at a token boundary.
//! * *Identifiers* (UUIDs, hashes, keys, times, addresses, counts) are random. If they merge with adjacent text, the results
//!   are tokens that occur only once, and broken records. So they are split off from their surroundings, and then split from
//!   their start into chunks of equal length. Every UUID is then the same number of tokens, which a small model can learn.
//! * All other text (names, messages, user agents, paths) merges freely; in JSON also across spaces: closed categories such as
//!   `Mobile Apps and Desktop clients` become one token. In lines of text each word has tokens of its own, as it has a score of
//!   its own: no line of several words is one token.
//!
//! The elements of an array are pieces, and so is what stands between them, whether they are strings or numbers.
//!
//! `scripts/pretokenization_study.py` compares this with GPT-2's splitting, with no splitting, with digits alone and with
//! other combinations. The patterns use only syntax that has the same meaning in Rust (fancy-regex) and Python (Oniguruma).
//! The first pattern has no lookaround, so that Rust runs it as an automaton.

/// 8-4-4-4-12 hexadecimal digits.
pub const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
/// Hashes and trace ids.
pub const HASH: &str = "[0-9a-f]{16,}|[0-9A-F]{16,}";
/// Alternating letters and digits (keys, tokens, instance ids), but not a word with a number at one end (`TLSv1`, `77th`).
pub const KEY: &str = "[A-Za-z]*[0-9]+[A-Za-z]+[0-9]+[A-Za-z0-9]*";
/// ISO 8601 with or without a fraction.
pub const TIME: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?";
/// Addresses and clock times (at least three groups), coordinates (at least three decimals), counts (at least three digits).
/// Shorter numbers are mostly parts of names (`Windows 10`, `HTTP/1.1`) and stay with their text.
pub const NUMBER: &str = r"[0-9]+(?:[.:][0-9]+){2,}|[0-9]+\.[0-9]{3,}|[0-9]{3,}";

/// Numbers between commas, as in an array.
pub const LIST: &str = r"-?[0-9]+(?:\.[0-9]+)?(?:, ?-?[0-9]+(?:\.[0-9]+)?)+";

/// From the end of one JSON value to the start of the next: closing quote, brackets, keys, fixed words, opening quote.
fn junction() -> String {
    let brackets = r"[\]},{\[ ]*";
    let key = r#""[A-Za-z0-9_.@$/ -]+": ?"#;
    let members = format!(r#""?{brackets}(?:{key}{brackets}(?:(?:true|false|null|""){brackets})?)+"?"#);
    // Between two strings of an array, behind an inner array or object, and behind the last string.
    format!(r#"{members}|"{brackets},{brackets}"|"?[\]}}]+ ?, ?[\[{{]*"?|"[\]}}]+"#)
}

/// The lengths of the chunks into which identifiers are split, 1 if the vocabulary has no room for all pairs, and how words merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    pub digits: usize,
    pub hex: usize,
    /// Whether the corpus is JSON, whose values merge across words.
    pub json: bool,
}

/// The pattern of the first split: it isolates newlines, junctions and whole identifiers.
pub fn coarse() -> String {
    format!(r"\n|{}|{UUID}|{TIME}|{HASH}|{KEY}|{LIST}|{NUMBER}", junction())
}

/// The patterns of all splits, in order: `coarse`, then the chunks inside numbers, hexadecimal identifiers, keys, lists and text.
pub fn splits(chunks: Chunks) -> Vec<String> {
    let Chunks { digits, hex, json } = chunks;
    let mut all = vec![
        coarse(),
        chunked(&format!("{TIME}|{NUMBER}"), &format!("[0-9]{{1,{digits}}}|[^0-9]")),
        chunked(&format!("{UUID}|{HASH}"), &format!("[0-9a-fA-F]{{1,{hex}}}|-")),
        chunked(KEY, "[A-Za-z0-9]"),
        chunked(LIST, &format!("[0-9]{{1,{digits}}}|, ?|[^0-9]")),
    ];
    if !json {
        all.push(chunked(r"[^\n ]*(?: [^\n ]*)+", r" *[^ \n]+| +"));
    }
    all
}

/// A pattern that splits a text into adjacent matches of `piece` if all of the text matches `whole`, and that matches
/// nothing in any other text. (`\A` begins the first match; `\G` begins each next one where the previous one ended.)
fn chunked(whole: &str, piece: &str) -> String {
    format!("{CHUNKED_START}{whole}{CHUNKED_MIDDLE}{piece}{CHUNKED_END}")
}

const CHUNKED_START: &str = r"(?:\A(?=(?:";
const CHUNKED_MIDDLE: &str = r")\z)|(?!\A)\G)(?:";
const CHUNKED_END: &str = ")";

/// The arguments `whole` and `piece` of a pattern that `chunked` returned.
pub fn unchunked(pattern: &str) -> Option<(&str, &str)> {
    pattern.strip_prefix(CHUNKED_START)?.strip_suffix(CHUNKED_END)?.split_once(CHUNKED_MIDDLE)
}
