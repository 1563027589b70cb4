//! The shape of a string: its punctuation as it is written, and its runs of letters and digits by kind and length.

use super::values::Times;

const DIGIT: u8 = 1;
const HEX_LOWER: u8 = 2;
const LOWER: u8 = 4;
const HEX_UPPER: u8 = 8;
const UPPER: u8 = 16;

/// The longest outline of a shape; longer strings have no shape.
const LONGEST: usize = 48;
/// A run has a fixed length if all its lengths are equal and at least this.
const FIXED: u32 = 6;

/// The shape of strings that have the same punctuation between their runs of letters and digits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StringShape {
    /// The string with each run replaced by `a`, such as `a-a.a`.
    outline: String,
    runs: Vec<CharRun>,
    pub times: Times,
}

/// One run: the kinds of characters that occur in it, and its lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
struct CharRun {
    kinds: u8,
    shortest: u32,
    longest: u32,
}

impl StringShape {
    /// The shape of one string; `None` if the string is too long or contains anything but printable ASCII.
    pub fn of(text: &str) -> Option<Self> {
        let mut shape = StringShape { outline: String::new(), runs: Vec::new(), times: Times { count: 1, last: 0 } };
        let mut inside = false;
        for byte in text.bytes() {
            let kind = kind(byte);
            if kind == 0 && !(b' '..=b'~').contains(&byte) || shape.outline.len() > LONGEST {
                return None;
            }
            if kind == 0 {
                shape.outline.push(byte.into());
            } else if let Some(last) = shape.runs.last_mut().filter(|_| inside) {
                last.kinds |= kind;
                last.longest += 1;
            } else {
                shape.outline.push('a');
                shape.runs.push(CharRun { kinds: kind, shortest: 0, longest: 1 });
            }
            inside = kind != 0;
        }
        shape.runs.iter_mut().for_each(|run| run.shortest = run.longest);
        Some(shape)
    }

    /// Merges `other` into this shape, and returns whether it was covered before. None, and nothing changes, if the outlines
    /// differ.
    pub fn learn(&mut self, other: &StringShape) -> Option<bool> {
        if self.outline != other.outline {
            return None;
        }
        let covered = self.covers_runs(other);
        self.times = Times { count: self.times.count + other.times.count, last: other.times.last };
        for (mine, other) in self.runs.iter_mut().zip(&other.runs) {
            mine.kinds |= other.kinds;
            mine.shortest = mine.shortest.min(other.shortest);
            mine.longest = mine.longest.max(other.longest);
        }
        Some(covered)
    }

    /// Whether this shape, learnt from many strings, covers the shape of one string.
    pub fn covers(&self, other: &StringShape) -> bool {
        self.outline == other.outline && self.covers_runs(other)
    }

    fn covers_runs(&self, other: &StringShape) -> bool {
        let fits = |(mine, other): (&CharRun, &CharRun)| {
            let (least, most) = mine.lengths();
            other.kinds & !mine.allowed() == 0 && (least..=most).contains(&other.longest)
        };
        self.runs.iter().zip(&other.runs).all(fits)
    }

    /// A regular expression without anchors for the strings that this shape covers; `punctuation` gives that of a sign.
    pub fn regex(&self, punctuation: &dyn Fn(char) -> String) -> String {
        let mut runs = self.runs.iter();
        let mut part = |sign: char| match sign {
            'a' => runs.next().map(CharRun::regex).unwrap_or_default(),
            sign => punctuation(sign),
        };
        self.outline.chars().map(&mut part).collect()
    }

    /// Whether JSON writes one of the signs with a backslash.
    pub fn has_escapes(&self) -> bool {
        self.outline.contains(['"', '\\'])
    }
}

impl CharRun {
    /// The allowed kinds: those seen, but all letters of a case if the run is not hexadecimal. Otherwise a word that by
    /// chance has only letters up to `f` would exclude the rest of the alphabet.
    fn allowed(&self) -> u8 {
        let mut kinds = self.kinds;
        let hex = kinds & DIGIT != 0 && self.is_fixed();
        for (low, all) in [(HEX_LOWER, LOWER), (HEX_UPPER, UPPER)] {
            if kinds & all != 0 || kinds & low != 0 && !hex {
                kinds |= low | all;
            }
        }
        kinds
    }

    fn is_fixed(&self) -> bool {
        self.shortest == self.longest && self.shortest >= FIXED
    }

    /// The allowed lengths: the fixed length, or any length up to twice the longest.
    fn lengths(&self) -> (u32, u32) {
        if self.is_fixed() { (self.shortest, self.shortest) } else { (1, 2 * self.longest) }
    }

    fn regex(&self) -> String {
        let kinds = self.allowed();
        let ranges = [(DIGIT, "0-9"), (UPPER, "A-Z"), (HEX_UPPER, "A-F"), (LOWER, "a-z"), (HEX_LOWER, "a-f")];
        let hidden = |kind| kind == HEX_UPPER && kinds & UPPER != 0 || kind == HEX_LOWER && kinds & LOWER != 0;
        let of_kind = |&(kind, _): &(u8, &str)| kinds & kind != 0 && !hidden(kind);
        let class: String = ranges.iter().filter(|range| of_kind(range)).map(|(_, range)| *range).collect();
        match self.lengths() {
            (least, most) if least == most => format!("[{class}]{{{least}}}"),
            (least, most) => format!("[{class}]{{{least},{most}}}"),
        }
    }
}

fn kind(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'f' => HEX_LOWER,
        b'g'..=b'z' => LOWER,
        b'A'..=b'F' => HEX_UPPER,
        b'G'..=b'Z' => UPPER,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn plain(shape: &StringShape) -> String {
        shape.regex(&super::super::written::escape_sign)
    }

    fn of(texts: &[&str]) -> StringShape {
        let mut shapes = texts.iter().map(|text| StringShape::of(text).unwrap());
        let mut shape = shapes.next().unwrap();
        shapes.for_each(|other| assert!(shape.learn(&other).is_some()));
        shape
    }

    #[test]
    fn shapes_say_kinds_and_lengths() {
        for (texts, expected) in [
            (&["JOSEPHTAYLOR-LT", "AARONCOLE-PC"][..], "[A-Z]{1,24}-[A-Z]{1,4}"),
            (&["0123456789ab", "ba9876543210"], "[0-9a-f]{12}"),
            (&["123837392027", "000000000000"], "[0-9]{12}"),
            (&["AIDATFQR7NSC", "AKIA0FQR7NSC"], "[0-9A-Z]{12}"),
            (&["i-0ab1", "i-9ff"], r"[a-z]{1,2}-[0-9a-z]{1,8}"),
            (&["decade", "facade"], "[a-z]{6}"),
            (&["C:\\a.exe", "D:\\b.exe"], r"[A-Z]{1,2}:\\[a-z]{1,2}\.[a-z]{1,6}"),
            (&["", ""], ""),
            (&["{(a)}"], r"\{\([a-z]{1,2}\)\}"),
        ] {
            let shape = of(texts);
            assert_eq!(plain(&shape), expected);
            let regex = Regex::new(&format!("^{expected}$")).unwrap();
            assert!(texts.iter().all(|text| regex.is_match(text) && shape.covers(&StringShape::of(text).unwrap())));
        }
        assert_eq!(of(&["a-b"]).learn(&StringShape::of("a_b").unwrap()), None);
        assert_eq!(
            [StringShape::of("é"), StringShape::of("a\nb"), StringShape::of(&"-".repeat(100))],
            [None, None, None]
        );
    }

    #[test]
    fn covering_agrees_with_the_regular_expression() {
        let shape = of(&["ab12ef-XX", "00ffee-YYYY"]);
        let regex = Regex::new(&format!("^{}$", plain(&shape))).unwrap();
        for text in ["ab12ef-X", "ab12eg-X", "ab12e-X", "ab12ef-YYYYY", "AB12ef-X", "ab12ef-", "ab12ef_X", "ab12ef-x"] {
            assert_eq!(shape.covers(&StringShape::of(text).unwrap()), regex.is_match(text), "{text}: {regex}");
        }
    }
}
