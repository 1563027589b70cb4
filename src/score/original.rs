//! Findings in clear: what the pseudonyms of a scored record stand for, where the raw record is at hand.

use crate::finding::Shaded;
use crate::pseudonyms::Rewritten;
use std::ops::Range;

/// The raw record behind a scored one.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    /// Its body, without a prefix.
    pub body: Vec<u8>,
    /// The prefix that it would have in clear.
    pub prefix: Vec<u8>,
    /// The length of the prefix of the scored record.
    pub prefix_length: usize,
    /// How the bodies differ.
    pub rewritten: Rewritten,
}

impl Original {
    /// The place in the raw body of a place in the scored record that lies behind its prefix.
    fn place(&self, place: &Range<usize>) -> Range<usize> {
        let behind = |at: usize| at.saturating_sub(self.prefix_length);
        let found = self.rewritten.original(&(behind(place.start)..behind(place.end)));
        // The separator of a record lies behind its end.
        found.start.min(self.body.len())..found.end.min(self.body.len())
    }

    /// The raw bytes of a place in the scored record.
    pub fn bytes(&self, place: &Range<usize>) -> &[u8] {
        match place.end <= self.prefix_length && !place.is_empty() {
            true => self.prefix.trim_ascii_end(),
            false => &self.body[self.place(place)],
        }
    }

    /// The offset in the raw body of an offset in the body of the scored record.
    pub fn offset(&self, at: usize) -> usize {
        self.rewritten.original(&(at..at + 1)).start
    }

    /// The tokens with the raw text. Those of one pseudonym become one, as surprising as the most surprising of them.
    pub fn shades(&self, tokens: Vec<Shaded>) -> Vec<Shaded> {
        let mut shown: Vec<Shaded> = Vec::with_capacity(tokens.len());
        let (mut at, mut done) = (0, None);
        for token in tokens {
            let range = at..at + token.text.len();
            at = range.end;
            let (from, place) = match range.end <= self.prefix_length {
                true => (&self.prefix, 0..self.prefix.len()),
                false => (&self.body, self.place(&range)),
            };
            if range.end > self.prefix_length && range.start <= self.prefix_length {
                done = None;
            }
            let is_separator = range.start >= self.prefix_length + self.rewritten.record.len();
            let begin = done.map_or(place.start, |done: usize| place.start.max(done));
            match shown.last_mut() {
                Some(last) if begin >= place.end && !is_separator => {
                    last.nats = last.nats.max(token.nats);
                    last.found |= token.found;
                }
                _ if is_separator => shown.push(token),
                _ => shown.push(Shaded { text: from[begin.min(place.end)..place.end].to_vec(), ..token }),
            }
            done = Some(place.end);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonyms::Change;

    fn original() -> Original {
        let change = |place: Range<usize>, text: &str| Change {
            place,
            text: text.into(),
            class: "user",
            path: "u".into(),
            is_known: false,
        };
        let body = br#"{"u":"acole","n":1}"#.to_vec();
        let changes = vec![change(6..11, "mvossen")];
        let rewritten = Rewritten { record: br#"{"u":"mvossen","n":1}"#.to_vec(), changes };
        Original { body, prefix: b"acole ".to_vec(), prefix_length: 8, rewritten }
    }

    #[test]
    fn tokens_of_one_pseudonym_become_the_name() {
        let texts = ["mvo", "ssen ", "{\"u\":", "\"mv", "oss", "en\",", "\"n\":1", "}", "\n"];
        let token = |(number, text): (usize, &&str)| Shaded {
            text: text.as_bytes().to_vec(),
            nats: number as f64,
            found: number == 4,
        };
        let shown = original().shades(texts.iter().enumerate().map(token).collect());
        let seen: Vec<(String, f64, bool)> =
            shown.iter().map(|t| (String::from_utf8(t.text.clone()).unwrap(), t.nats, t.found)).collect();
        let expected = [
            ("acole ", 1.0, false),
            ("{\"u\":", 2.0, false),
            ("\"acole", 4.0, true),
            ("\",", 5.0, false),
            ("\"n\":1", 6.0, false),
            ("}", 7.0, false),
            ("\n", 8.0, false),
        ];
        assert_eq!(seen, expected.map(|(text, nats, found)| (text.to_string(), nats, found)));
    }

    #[test]
    fn places_show_the_raw_bytes() {
        let original = original();
        assert_eq!(original.bytes(&(0..7)), b"acole");
        assert_eq!(original.bytes(&(13..22)), b"\"acole\"");
        assert_eq!(original.bytes(&(27..28)), b"1");
        assert_eq!((original.offset(5), original.offset(19)), (5, 17));
    }
}
