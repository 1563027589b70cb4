//! What a JSON value is: a scanner in one pass that takes bytes as they arrive. Every reader of records asks it, so all agree
//! on which records are objects.
//!
//! RFC 8259, with a bound on depth: strings hold no control characters, numbers have no leading zeros, nothing follows a
//! value. Bytes that are not UTF-8 are found by `object_fault`, which sees the record as a whole.

/// A value may be nested this deep: the object itself is 1. Readers differ, and this is the limit of serde_json.
pub const DEEPEST: usize = 127;

/// Names of members are remembered down to this depth, to find arrays of records in wrappers.
pub const NAMED: usize = 3;

/// What a piece of text does to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value goes on behind the piece.
    More,
    /// The value ends behind this many bytes of the piece.
    End(usize),
    /// An array opens in an object, no deeper than [`NAMED`], behind this many bytes of the piece; the scan continues from
    /// there. Only a scanner that watches for arrays stops here.
    Array(usize),
    /// The byte at this offset of the piece is wrong, and why.
    Broken(usize, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    NameOrEnd,
    Name,
    Colon,
    After,
    String,
    Escape,
    /// This many hexadecimal digits are still to come.
    Hex(u8),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
}

/// Scans one value. Memory: constant.
#[derive(Clone, Debug)]
pub struct Scanner {
    state: State,
    depth: usize,
    /// For each open bracket one bit, the innermost lowest: 1 for an object.
    objects: u128,
    /// Whether the string being read is the name of a member.
    naming: bool,
    watch: bool,
    /// Bytes of earlier pieces.
    before: usize,
    /// The last name at each depth from 1, as offsets from the beginning of the value, quotes included.
    names: [(usize, usize); NAMED],
}

/// Bytes that go on inside a string.
const INSIDE: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = false;
        byte += 1;
    }
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table
};

/// The number of bytes at the beginning that go on inside a string; eight at a time, as most strings are short.
fn inside(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        // The high bit of a byte is set where the byte is below 0x20, a quote or a backslash; borrows reach only higher bytes.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let found = (control | quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|&byte| !INSIDE[usize::from(byte)]).unwrap_or(bytes.len() - at)
}

const STRING_END: &str = "a control character inside a string";
const VALUE: &str = "expected a value";
const NUMBER: &str = "expected a digit of a number";

impl Scanner {
    pub fn new() -> Self {
        let names = [(0, 0); NAMED];
        Self { state: State::Value, depth: 0, objects: 0, naming: false, watch: false, before: 0, names }
    }

    /// A scanner that stops where an array opens in an object.
    pub fn watching() -> Self {
        Self { watch: true, ..Self::new() }
    }

    /// The number of brackets that are open.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The offsets of the last name at a depth from 1 to [`NAMED`], quotes included.
    pub fn name(&self, depth: usize) -> std::ops::Range<usize> {
        let (start, end) = self.names[depth - 1];
        start..end
    }

    /// Whether the end of the input here ends the value: a number at the top level has no other end.
    pub fn ends_here(&self) -> bool {
        self.depth == 0 && self.is_whole_number()
    }

    fn is_whole_number(&self) -> bool {
        use State::{ExponentDigits, Fraction, Integer, Zero};
        matches!(self.state, Zero | Integer | Fraction | ExponentDigits)
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Whether the innermost brackets that are open, up to [`NAMED`] of them, are all objects.
    fn in_objects_only(&self) -> bool {
        (1..=NAMED).contains(&self.depth) && self.objects & ((1 << self.depth) - 1) == (1 << self.depth) - 1
    }

    /// Takes the next piece of the value.
    pub fn push(&mut self, piece: &[u8]) -> Step {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if self.state == State::String {
                at += inside(&piece[at..]);
                if at == piece.len() {
                    break;
                }
                match piece[at] {
                    b'"' => self.close_string(self.before + at + 1),
                    b'\\' => self.state = State::Escape,
                    _ => return self.stopped(at, Step::Broken(at, STRING_END)),
                }
                at += 1;
                if self.state == State::After && self.depth == 0 {
                    return self.stopped(at, Step::End(at));
                }
                at = self.next_string(piece, at);
                continue;
            }
            let number = self.is_whole_number();
            match self.byte(byte, at) {
                Ok(Turn::Next) => at += 1,
                Ok(Turn::Array) => return self.stopped(at + 1, Step::Array(at + 1)),
                Ok(Turn::Done) => return self.stopped(at + 1, Step::End(at + 1)),
                // A number ends before the byte that follows it.
                Ok(Turn::Again) if self.depth == 0 => return self.stopped(at, Step::End(at)),
                Ok(Turn::Again) => debug_assert!(number),
                Err(fault) => return self.stopped(at, Step::Broken(at, fault)),
            }
        }
        self.stopped(piece.len(), Step::More)
    }

    #[inline(always)]
    fn stopped(&mut self, at: usize, step: Step) -> Step {
        self.before += at;
        step
    }

    #[inline(always)]
    fn close_string(&mut self, end: usize) {
        if self.naming {
            self.naming = false;
            self.state = State::Colon;
            if let Some(name) = self.names.get_mut(self.depth - 1) {
                name.1 = end;
            }
        } else {
            self.state = State::After;
        }
    }

    /// Takes what mostly follows a string, in one step: a colon or comma, perhaps a space, and the quote of the next string.
    #[inline(always)]
    fn next_string(&mut self, piece: &[u8], mut at: usize) -> usize {
        let name = match (self.state, piece.get(at)) {
            (State::Colon, Some(b':')) => false,
            (State::After, Some(b',')) if self.in_object() => true,
            _ => return at,
        };
        self.state = if name { State::Name } else { State::Value };
        at += 1;
        if piece.get(at) == Some(&b' ') {
            at += 1;
        }
        if piece.get(at) == Some(&b'"') {
            if name {
                self.begin_name(at);
            } else {
                self.state = State::String;
            }
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn begin_name(&mut self, at: usize) {
        (self.naming, self.state) = (true, State::String);
        if let Some(name) = self.names.get_mut(self.depth - 1) {
            *name = (self.before + at, 0);
        }
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8, at: usize) -> Result<Turn, &'static str> {
        use State::*;
        let space = is_space(byte);
        self.state = match (self.state, byte) {
            (Value | ValueOrEnd | NameOrEnd | Name | Colon | After, _) if space => return Ok(Turn::Next),
            (ValueOrEnd, b']') | (NameOrEnd, b'}') => return Ok(self.close()),
            (Value | ValueOrEnd, _) => return self.begin(byte),
            (NameOrEnd | Name, b'"') => {
                self.begin_name(at);
                String
            }
            (NameOrEnd, _) => return Err("expected the name of a member or }"),
            (Name, _) => return Err("expected the name of a member"),
            (Colon, b':') => Value,
            (Colon, _) => return Err("expected : after the name of a member"),
            (After, b',') => {
                if self.in_object() {
                    Name
                } else {
                    Value
                }
            }
            (After, b'}') if self.in_object() => return Ok(self.close()),
            (After, b']') if !self.in_object() => return Ok(self.close()),
            (After, _) if self.in_object() => return Err("expected , or } after a member"),
            (After, _) => return Err("expected , or ] after an element"),
            (Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => String,
            (Escape, b'u') => Hex(4),
            (Escape, _) => return Err("an unknown escape in a string"),
            (Hex(left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if left == 1 {
                    String
                } else {
                    Hex(left - 1)
                }
            }
            (Hex(_), _) => return Err("expected four hexadecimal digits after \\u"),
            (Word([first, rest @ ..]), _) if *first == byte => match rest {
                [] => return Ok(self.plain_end()),
                rest => Word(rest),
            },
            (Word(_), _) => return Err("expected true, false or null"),
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') => Integer,
            (Integer, b'0'..=b'9') => Integer,
            (Zero | Integer, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Integer | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => ExponentDigits,
            (Minus | Point | Exponent | ExponentSign, _) => return Err(NUMBER),
            (Zero | Integer | Fraction | ExponentDigits, _) => {
                self.state = After;
                return Ok(Turn::Again);
            }
            (String, _) => unreachable!("strings are scanned in `push`"),
        };
        Ok(Turn::Next)
    }

    /// The first byte of a value.
    #[inline(always)]
    fn begin(&mut self, byte: u8) -> Result<Turn, &'static str> {
        self.state = match byte {
            b'{' | b'[' => return self.open(byte == b'{'),
            b'"' => State::String,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Integer,
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            _ => return Err(VALUE),
        };
        Ok(Turn::Next)
    }

    fn open(&mut self, object: bool) -> Result<Turn, &'static str> {
        if self.depth == DEEPEST {
            return Err("nested deeper than 127 levels");
        }
        let listed = !object && self.watch && self.in_objects_only();
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        self.state = if object { State::NameOrEnd } else { State::ValueOrEnd };
        Ok(if listed { Turn::Array } else { Turn::Next })
    }

    fn close(&mut self) -> Turn {
        self.depth -= 1;
        self.objects >>= 1;
        self.plain_end()
    }

    fn plain_end(&mut self) -> Turn {
        self.state = State::After;
        if self.depth == 0 { Turn::Done } else { Turn::Next }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// What a byte outside strings does.
enum Turn {
    Next,
    /// It opened an array that is watched for.
    Array,
    /// It ended the value.
    Done,
    /// It follows a number, and belongs to what is around it.
    Again,
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &[u8]) -> bool {
        let mut scanner = Scanner::new();
        match scanner.push(text) {
            Step::End(length) => text[length..].trim_ascii().is_empty(),
            Step::More => scanner.ends_here(),
            Step::Broken(..) | Step::Array(_) => false,
        }
    }

    #[test]
    fn values_are_those_of_the_rfc() {
        for good in [
            "{}",
            "[]",
            " [ 1 , 2 ] ",
            "0",
            "-0",
            "1.50",
            "-1E+5",
            "10e-2",
            "\"\\u00e9\\n\"",
            "true",
            "false",
            "null",
            "{\"a\":{\"b\":[{}]},\"c\":\"\u{7f}\"}",
        ] {
            assert!(value(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "NaN",
            "tru",
            "'a'",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "{\"a\":10 20}",
            "[fal se]",
            "[- 1]",
            "1 2",
            "{]",
            "[}",
            "{\"a\":[}]",
        ] {
            assert!(!value(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn arrays_in_objects_are_seen_with_their_names() {
        let text = b"{\"n\":[1],\"hits\":{\"t\":{},\"hits\":[{\"x\":[{}]}]},\"l\":[[2]]}";
        let (mut scanner, mut at, mut seen) = (Scanner::watching(), 0, Vec::new());
        while let Step::Array(length) = scanner.push(&text[at..]) {
            at += length;
            let names =
                (1..scanner.depth()).map(|depth| String::from_utf8_lossy(&text[scanner.name(depth)]).into_owned());
            seen.push((at, names.collect::<Vec<_>>().join(".")));
        }
        assert_eq!(
            seen.iter().map(|(_, names)| names.as_str()).collect::<Vec<_>>(),
            ["\"n\"", "\"hits\".\"hits\"", "\"l\""]
        );
        assert!(seen.iter().all(|(at, _)| text[at - 1] == b'['));
    }

    proptest! {
        #[test]
        fn bytes_inside_strings_are_found_eight_at_a_time(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let one_by_one = bytes.iter().position(|&byte| !INSIDE[usize::from(byte)]).unwrap_or(bytes.len());
            prop_assert_eq!(inside(&bytes), one_by_one);
            let plain: Vec<u8> = bytes.iter().map(|byte| byte | 0x80).chain(bytes.iter().copied()).collect();
            let one_by_one = plain.iter().position(|&byte| !INSIDE[usize::from(byte)]).unwrap_or(plain.len());
            prop_assert_eq!(inside(&plain), one_by_one);
        }

        #[test]
        fn pieces_of_any_size_and_serde_give_the_same(
            text in prop::collection::vec(prop::sample::select(b"{}[]\",:\\u0123456789.eE+-truefalsn \t\n\xc3\xa9\x01".to_vec()), 0..24),
            size in 1..5usize,
        ) {
            prop_assert_eq!(value(&text), serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok());
            let whole = Scanner::new().push(&text);
            let (mut scanner, mut used, mut pieces) = (Scanner::new(), 0, Step::More);
            for piece in text.chunks(size) {
                pieces = match scanner.push(piece) {
                    Step::More => { used += piece.len(); continue }
                    Step::End(at) => Step::End(used + at),
                    Step::Array(at) => Step::Array(used + at),
                    Step::Broken(at, why) => Step::Broken(used + at, why),
                };
                break;
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
