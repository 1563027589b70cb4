//! What a client sees of one record while it grows: its text without the prefix that the model was trained with, and the tokens
//! that wrote it.

use super::outbox::Gathered;
use crate::record::{Form, Records};
use crate::sample::TokenLogprob;
use crate::tokens::Tokenizer;
use std::collections::VecDeque;
use std::fmt::Write;
use std::ops::Range;
use std::str;

/// Further text of a record, and its tokens where log probabilities are wanted.
#[derive(Debug, Default, PartialEq)]
pub struct Piece {
    pub text: String,
    pub tokens: Vec<ShownToken>,
}

#[derive(Debug, PartialEq)]
pub struct ShownToken {
    /// The part of the token that lies in the text.
    pub text: String,
    pub logprob: f64,
    pub top: Vec<(String, f64)>,
    /// Where it begins, in characters from the beginning of the prompt.
    pub offset: usize,
}

/// The text of one record.
pub struct ChoiceText<'a> {
    records: &'a Records,
    tokenizer: &'a Tokenizer,
    /// Whether the text begins with the prompt.
    echo: bool,
    /// Where the client's prompt begins and ends, behind the prefix of the conditions.
    prompt: Range<usize>,
    /// All that is certain of the record as the model writes it.
    raw: Vec<u8>,
    /// What is shown of it: nothing of what is behind this.
    shown: usize,
    tokens: VecDeque<TokenLogprob>,
}

impl<'a> ChoiceText<'a> {
    /// `begun` is the prefix of the conditions, and from `prompt` on the client's prompt.
    pub fn new((records, tokenizer): (&'a Records, &'a Tokenizer), begun: Vec<u8>, prompt: usize, echo: bool) -> Self {
        let prompt = prompt..begun.len();
        ChoiceText { records, tokenizer, echo, prompt, raw: begun, shown: 0, tokens: VecDeque::new() }
    }

    /// Takes in what has become known of the record, and returns what has become visible.
    pub fn push(&mut self, gathered: Gathered) -> Piece {
        let Gathered { text, tokens, finished } = gathered;
        self.raw.extend(text);
        self.tokens.extend(tokens);
        let whole = finished.map(|(record, _)| record.text);
        let is_opened = !self.records.open.is_nothing();
        let text = match (&whole, self.body()) {
            // Opened strings are closed in a whole record.
            (Some(record), _) if is_opened => self.closed(record),
            (None, _) if is_opened => String::new(),
            (_, None) => String::new(),
            (_, Some(body)) => {
                let from = self.start(body).max(self.shown);
                self.shown = self.raw.len();
                String::from_utf8_lossy(&self.raw[from..]).into_owned()
            }
        };
        Piece { text, tokens: self.tokens_until(whole.is_some()) }
    }

    /// Where the record begins behind its prefix; None as long as only a prefix is written.
    fn body(&self) -> Option<usize> {
        match self.records.form {
            Form::PrefixedJson => self.raw.iter().position(|byte| *byte == b'{'),
            Form::Json | Form::Text => Some(0),
        }
    }

    /// Where the visible text begins, of a record that begins at `body`.
    fn start(&self, body: usize) -> usize {
        if self.echo { body } else { body.max(self.prompt.end) }
    }

    fn closed(&self, record: &[u8]) -> String {
        let records = self.records;
        let (begun, whole) = (records.as_logged(&record[..self.prompt.end]), records.as_logged(record));
        let behind = if self.echo { Some(&whole[..]) } else { whole.strip_prefix(&begun[..]) };
        // Of a prompt that ends inside of an opened string, what follows is shown as it was written.
        String::from_utf8_lossy(behind.unwrap_or(&record[self.prompt.end..])).into_owned()
    }

    /// The tokens whose text is visible; all that is left, if the record is finished.
    fn tokens_until(&mut self, is_finished: bool) -> Vec<ShownToken> {
        let Some(body) = self.body() else { return Vec::new() };
        let start = self.start(body);
        let first = if self.echo { body } else { body.max(self.prompt.start) };
        let mut visible = Vec::new();
        while let Some(token) = self.tokens.front() {
            let bytes = self.tokenizer.token_bytes(token.token);
            let end = token.at + bytes.len();
            if end > self.raw.len() && !is_finished {
                break;
            }
            let (from, to) = (token.at.max(start), end.min(self.raw.len()));
            if from < to {
                let spelt_token = |&(token, logprob): &(u32, f64)| (spelt(self.tokenizer.token_bytes(token)), logprob);
                visible.push(ShownToken {
                    text: spelt(&self.raw[from..to]),
                    logprob: token.logprob,
                    top: token.top.iter().map(spelt_token).collect(),
                    offset: characters(&self.raw[first..from]),
                });
            }
            self.tokens.pop_front();
        }
        visible
    }
}

/// The number of characters that begin in the text.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// The text of a token; where it is no text by itself, its bytes as OpenAI writes them.
fn spelt(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().fold("bytes:".to_string(), |mut text, byte| {
            write!(text, "\\x{byte:02x}").expect("writing to memory does not fail");
            text
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Opening;
    use crate::sample::{Finish, GeneratedRecord};

    /// What a record looks like that begins with a prefix and a prompt, and to which `pieces` are added, the last of them at its
    /// end. Every byte is a token.
    fn shown(records: &Records, (prefix, prompt): (&str, &str), echo: bool, pieces: &[&[u8]]) -> Vec<Piece> {
        let tokenizer = Tokenizer::bytes();
        let begun = format!("{prefix}{prompt}").into_bytes();
        let mut choice = ChoiceText::new((records, &tokenizer), begun.clone(), prefix.len(), echo);
        let (mut text, mut at) = (begun.clone(), if echo { 0 } else { begun.len() });
        let mut push = |(number, piece): (usize, &&[u8])| {
            text.extend_from_slice(piece);
            let token = |at: usize| TokenLogprob { token: text[at].into(), at, logprob: -1.0, top: vec![] };
            let tokens = (at..text.len()).map(token).collect();
            at = text.len();
            let record = GeneratedRecord { index: 0, text: text.clone(), tokens: 1, ended: true, constrained: None };
            let finished = (number + 1 == pieces.len()).then_some((record, Finish::Ended));
            choice.push(Gathered { text: piece.to_vec(), tokens, finished })
        };
        pieces.iter().enumerate().map(&mut push).collect()
    }

    fn texts(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    /// The tokens' texts, joined, and where the first and the last begin.
    fn tokens(pieces: &[Piece]) -> (String, usize, usize) {
        let all: Vec<&ShownToken> = pieces.iter().flat_map(|piece| &piece.tokens).collect();
        let text = all.iter().map(|token| token.text.as_str()).collect();
        (text, all[0].offset, all.last().unwrap().offset)
    }

    #[test]
    fn a_prompt_is_shown_where_it_is_asked_for() {
        let records = Records { form: Form::Json, ..Records::unknown() };
        let pieces = shown(&records, ("", "{\"a\""), false, &[b":1", b"", b"}"]);
        assert_eq!(texts(&pieces), [":1", "", "}"]);
        assert_eq!(tokens(&pieces), (":1}".into(), 4, 6));
        let pieces = shown(&records, ("", "{\"a\""), true, &[b":1", b"}"]);
        assert_eq!(texts(&pieces), ["{\"a\":1", "}"]);
        assert_eq!(tokens(&pieces), ("{\"a\":1}".into(), 0, 6));
    }

    #[test]
    fn a_prefix_is_never_shown() {
        let records = Records { form: Form::PrefixedJson, ..Records::unknown() };
        for echo in [false, true] {
            let pieces = shown(&records, ("", ""), echo, &[b"al 20", b"26 {\"a", b"\":1}"]);
            assert_eq!(texts(&pieces), ["", "{\"a", "\":1}"]);
            assert_eq!(tokens(&pieces), ("{\"a\":1}".into(), 0, 6));
            assert_eq!(texts(&shown(&records, ("al ", ""), echo, &[b"{\"a\":1}"])), ["{\"a\":1}"]);
            assert_eq!(texts(&shown(&records, ("", ""), echo, &[b"none"])), [""]);
        }
        assert_eq!(texts(&shown(&records, ("al ", "{\"a"), false, &[b"\":1}"])), ["\":1}"]);
        let pieces = shown(&records, ("al ", "{\"a"), true, &[b"\":1}"]);
        assert_eq!(texts(&pieces), ["{\"a\":1}"]);
        assert_eq!(tokens(&pieces), ("{\"a\":1}".into(), 0, 6));
    }

    #[test]
    fn opened_strings_are_closed_when_the_record_is_whole() {
        let open = Opening::parse(&["m".to_string()]);
        let records = Records { form: Form::Json, open, ..Records::unknown() };
        let log = br#"{"m":"{\"a\":1}"}"#;
        let inside = records.as_read(log).into_owned();
        assert_ne!(inside, log);
        let pieces = shown(&records, ("", ""), false, &[&inside[..7], &inside[7..]]);
        assert_eq!(texts(&pieces), ["", str::from_utf8(log).unwrap()]);
        let pieces = shown(&records, ("", "{\"m\":"), false, &[&inside[5..]]);
        assert_eq!(texts(&pieces), [str::from_utf8(&log[5..]).unwrap()]);
    }

    #[test]
    fn parts_of_characters_are_spelt_as_bytes() {
        let pieces = shown(&Records::unknown(), ("", "é"), false, &["€x".as_bytes()]);
        assert_eq!(texts(&pieces), ["€x"]);
        assert_eq!(tokens(&pieces), ("bytes:\\xe2bytes:\\x82bytes:\\xacx".into(), 1, 2));
    }
}
