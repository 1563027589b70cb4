//! Token surprisals -> surprisals of the fields of a record.

use super::surprisal::Surprisals;
use crate::record::fields::{body_start, leaves};
use crate::record::text_fields;
use crate::tokens::Tokenizer;
use std::ops::Range;

/// What follows the last field: closing braces, and the end of the record. Its surprisal is high where a field is missing.
pub const END: &str = "(end)";
/// The prefix that `prepare --prefix-field` put before a JSON record.
pub const PREFIX: &str = "(prefix)";

/// A field with its surprisal.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSurprisal {
    /// In a JSON record the path of the leaf, `resources.*.arn`; in a line of text `status` or `$7` (see [`text_fields`]); or
    /// [`END`] or [`PREFIX`].
    pub path: String,
    /// Bytes that belong to the field: from the end of the one before to its own end, so that its name and the punctuation
    /// before it belong to it. The last span reaches one byte beyond the record, over the separator.
    pub span: Range<usize>,
    /// Bytes of its value.
    pub value: Range<usize>,
    /// Surprisal of the span.
    pub nats: f64,
    /// Largest surprisal of one token in it.
    pub max: f64,
}

/// The part of a token that lies in one field; most tokens are one piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    pub token: usize,
    pub field: usize,
    /// Fraction of the token's bytes, and of its surprisal.
    pub share: f64,
    pub nats: f64,
}

/// A record divided into fields, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    pub fields: Vec<FieldSurprisal>,
    pub pieces: Vec<Piece>,
}

/// Divides the surprisals of `record` among its fields: the leaves of a JSON record, the words of any other. A token that
/// crosses a boundary is split by bytes. The nats of the fields add up to those of the record.
pub fn parts(record: &[u8], tokenizer: &Tokenizer, surprisals: &Surprisals) -> Parts {
    let mut fields = cut_into_fields(record);
    let mut pieces = Vec::with_capacity(surprisals.tokens.len() + fields.len());
    let mut field = 0;
    for (token, (place, &nats)) in surprisals.places(tokenizer).zip(&surprisals.nats).enumerate() {
        let (mut at, end, length) = (place.start, place.end, place.len());
        while at < end {
            while fields[field].span.end <= at {
                field += 1;
            }
            let until = end.min(fields[field].span.end);
            let share = (until - at) as f64 / length as f64;
            let nats = f64::from(nats) * share;
            fields[field].nats += nats;
            fields[field].max = fields[field].max.max(nats);
            pieces.push(Piece { token, field, share, nats });
            at = until;
        }
    }
    Parts { fields, pieces }
}

/// The fields of a record, before their surprisal is known; they cover it and its separator without a gap.
pub(super) fn cut_into_fields(record: &[u8]) -> Vec<FieldSurprisal> {
    let mut fields = Vec::new();
    let mut from = 0;
    let mut add = |path: String, value: Range<usize>, end: usize| {
        fields.push(FieldSurprisal { path, span: from..end, value, nats: 0.0, max: 0.0 });
        from = end;
    };
    match leaves(record) {
        Some(leaves) => {
            let start = body_start(record).unwrap_or(0);
            if start > 0 {
                add(PREFIX.into(), 0..start - 1, start);
            }
            leaves.into_iter().for_each(|leaf| add(leaf.path, leaf.span.clone(), leaf.span.end));
        }
        None => {
            text_fields(record).into_iter().for_each(|(path, value)| add(path, value.clone(), value.end));
        }
    }
    add(END.into(), record.len()..record.len(), record.len() + 1);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Surprisals of a text whose bytes are tokens: byte i has i + 1 nats, the separator the last.
    fn counting(record: &[u8]) -> Surprisals {
        let tokens = record.iter().chain(b"\n").map(|&byte| byte.into()).collect();
        Surprisals { tokens, nats: (0..=record.len()).map(|i| i as f32 + 1.0).collect(), stand_ins: Vec::new() }
    }

    #[test]
    fn a_field_reaches_from_the_one_before_to_its_own_end() {
        let record = br#"{"a":1,"b":{"c":"x"}}"#;
        let parts = parts(record, &Tokenizer::bytes(), &counting(record));
        let seen: Vec<_> =
            parts.fields.iter().map(|f| (f.path.as_str(), f.span.clone(), f.value.clone(), f.nats, f.max)).collect();
        // Bytes 0..6 have 1 + ... + 6 = 21 nats, 6..19 have 7 + ... + 19 = 169, then come 20, 21 and the separator's 22.
        let expected =
            [("a", 0..6, 5..6, 21.0, 6.0), ("b.c", 6..19, 16..19, 169.0, 19.0), (END, 19..22, 21..21, 63.0, 22.0)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn words_of_a_line_are_fields() {
        let record = b" GET  /x 200 ";
        let parts = parts(record, &Tokenizer::bytes(), &counting(record));
        let seen: Vec<_> = parts.fields.iter().map(|f| (f.path.as_str(), f.span.clone(), f.value.clone())).collect();
        assert_eq!(seen, [("$1", 0..4, 1..4), ("$2", 4..8, 6..8), ("$3", 8..12, 9..12), (END, 12..14, 13..13)]);
        assert_eq!(cut_into_fields(b"").len(), 1, "an empty line has an end");
    }

    #[test]
    fn a_prefix_is_a_field_of_its_own() {
        let seen = cut_into_fields(br#"jdoe {"a":1}"#);
        assert_eq!((seen[0].path.as_str(), seen[0].span.clone(), seen[0].value.clone()), (PREFIX, 0..5, 0..4));
        assert_eq!((seen[1].path.as_str(), seen[1].span.clone()), ("a", 5..11));
    }

    #[test]
    fn a_token_across_a_border_is_split_by_bytes_and_sums_agree() {
        let sample: Vec<&[u8]> = vec![br#"{"a":1,"b":2}"#; 50];
        let tokenizer = Tokenizer::train_bpe(sample.into_iter(), 300).unwrap();
        // Inside other words, the learnt tokens fall across borders.
        for record in [&br#"{"a":1,"b":2}"#[..], br#"x"b":2} {"a":1"#, b"1,\"b\": 2 } \xff {", br#"{"b":2,"a":11}"#] {
            let mut tokens = Vec::new();
            tokenizer.encode(record, &mut tokens).unwrap();
            tokens.push(tokenizer.separator());
            let nats: Vec<f32> = (0..tokens.len()).map(|i| 0.5 + i as f32).collect();
            let surprisals = Surprisals { tokens, nats, stand_ins: Vec::new() };
            let parts = parts(record, &tokenizer, &surprisals);
            let fields: f64 = parts.fields.iter().map(|field| field.nats).sum();
            let shares: f64 = parts.pieces.iter().map(|piece| piece.share).sum();
            assert!((fields - surprisals.total()).abs() < 1e-9, "{fields} {}", surprisals.total());
            assert!((shares - surprisals.tokens.len() as f64).abs() < 1e-9);
        }
        let whole = Surprisals { tokens: vec![256, 10], nats: vec![3.0, 1.0], stand_ins: Vec::new() };
        let length = tokenizer.token_bytes(256).len();
        assert_eq!(length, 2, "the first merge joins two bytes");
        // One token of two bytes over a word and the white space after it: half of it counts to the end.
        let parts = parts(b"a ", &tokenizer, &whole);
        assert_eq!((parts.fields[0].nats, parts.fields[1].nats), (1.5, 2.5));
    }
}
