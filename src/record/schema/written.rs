//! How strings are spelled in JSON, as regular expressions over the text between the quotes.

use crate::record::json_tree::Text;

/// A character that may stand as it is, and the short escapes.
const PLAIN: &str = r#"[^"\\\x00-\x1f]|\\["\\/bfnrt]"#;
/// Escapes of a character by its number: one below the surrogates or above them, or a pair of surrogates.
const NUMBERED: &str = r"\\u([0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})";
/// The escape of half a character.
const HALF: &str = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}";

/// What the strings of a path have that a plain spelling does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spelling {
    /// Needless escapes, such as `\/` and `\u003d`.
    odd: bool,
    /// Needless escapes of letters and digits, or in a string of a standard format.
    runs: bool,
    /// Escapes of half a character.
    halves: bool,
}

impl Spelling {
    pub fn add(&mut self, text: &Text, is_formatted: bool) {
        if text.is_plain() {
            return;
        }
        self.odd = true;
        self.runs |= is_formatted;
        let mut rest = text.raw;
        while let Some((_, escape)) = rest.split_once('\\') {
            let code = escape.strip_prefix('u').and_then(|digits| digits.get(..4));
            let code = code.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            self.runs |= code.and_then(char::from_u32).is_some_and(|c| c.is_ascii_alphanumeric());
            // The value is the spelling itself where an escape has no character.
            self.halves |= code.is_some_and(|code| char::from_u32(code).is_none()) && text.value == text.raw;
            rest = &escape[1..];
        }
    }

    pub fn is_odd(&self) -> bool {
        self.odd
    }

    /// Whether letters and digits are escaped, so that a pattern of them says nothing of the spelling.
    pub fn hides_runs(&self) -> bool {
        self.runs
    }

    pub fn has_halves(&self) -> bool {
        self.halves
    }

    /// Any string of at most so many characters, with its quotes.
    pub fn any_text(&self, most: Option<usize>) -> String {
        text(most, self.halves)
    }
}

/// Any string of at most `most` characters, with its quotes; `halves`: also with escapes of half characters.
pub(crate) fn text(most: Option<usize>, halves: bool) -> String {
    let half = if halves { format!("|{HALF}") } else { String::new() };
    let times = most.map_or("*".to_string(), |most| format!("{{0,{most}}}"));
    format!("\"({PLAIN}|{NUMBERED}{half}){times}\"")
}

/// Any character, in any spelling but that of half a character.
pub(crate) fn any_character() -> String {
    format!("({PLAIN}|{NUMBERED})")
}

/// The text between quotes in its plain spelling.
pub(crate) fn plain(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    escape(&quoted[1..quoted.len() - 1])
}

/// A regular expression for the text alone, in every dialect: some refuse a backslash that is not needed.
pub(crate) fn escape(text: &str) -> String {
    text.chars().map(escape_sign).collect()
}

pub(super) fn escape_sign(sign: char) -> String {
    if r"\.+*?()|[]{}^$".contains(sign) { format!(r"\{sign}") } else { sign.to_string() }
}

/// The text between quotes, each character in any of its spellings.
pub(super) fn any_spelling(text: &str) -> String {
    text.chars().map(|sign| self::sign(sign, true)).collect()
}

/// One character in its plain spelling, or in any.
pub(super) fn sign(sign: char, in_any_spelling: bool) -> String {
    let plain = plain(sign.encode_utf8(&mut [0; 4]));
    if !in_any_spelling {
        return plain;
    }
    let unit = |unit: &u16| {
        let digits = format!("{unit:04x}");
        let either = |c: char| match c {
            'a'..='f' => format!("[{c}{}]", c.to_ascii_uppercase()),
            _ => c.to_string(),
        };
        format!(r"\\u{}", digits.chars().map(either).collect::<String>())
    };
    let numbered: String = sign.encode_utf16(&mut [0; 2]).iter().map(unit).collect();
    let slash = if sign == '/' { r"|\\/" } else { "" };
    format!("({plain}{slash}|{numbered})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn is_match(regex: &str, text: &str) -> bool {
        Regex::new(&format!("^({regex})$")).unwrap().is_match(text)
    }

    #[test]
    fn a_text_has_many_spellings() {
        for (value, spelling) in [
            ("a/b", r"a\/b"),
            ("A=1", r"\u0041\u003d\u0031"),
            ("é😀", r"\u00E9\ud83D\uDe00"),
            ("q\"\\\n", r#"q\"\\\n"#),
            ("q\"", r"q\u0022"),
        ] {
            assert!(is_match(&any_spelling(value), spelling), "{spelling}: {}", any_spelling(value));
            let whole = format!("\"{spelling}\"");
            assert!(is_match(&text(None, false), &whole) && is_match(&text(Some(4), false), &whole));
            assert_eq!(serde_json::from_str::<String>(&whole).unwrap(), value);
        }
        assert!(is_match(&plain("q\"\\\n+"), r#"q\"\\\n+"#) && !is_match(&plain("/"), r"\/"));
        assert!(is_match(&text(None, true), r#""\ud800""#) && !is_match(&text(None, false), r#""\ud800""#));
        assert!(!is_match(&text(Some(2), false), "\"abc\"") && !is_match(&text(None, false), "\"\t\""));
    }

    #[test]
    fn what_is_odd_about_a_spelling_is_seen() {
        let of = |raw: &str, is_formatted: bool| {
            let record = format!("{{\"a\":\"{raw}\"}}");
            let tree = crate::record::json_tree::Json::of_record(record.as_bytes()).unwrap();
            let crate::record::json_tree::Json::Object(members) = tree else { panic!("an object") };
            let crate::record::json_tree::Json::Text(text) = &members[0].1 else { panic!("a string") };
            let mut spelling = Spelling::default();
            spelling.add(text, is_formatted);
            (spelling.odd, spelling.runs, spelling.halves)
        };
        assert_eq!(of(r#"a\"\\\u0007 é"#, true), (false, false, false));
        assert_eq!(of(r"a\/b\u003d", false), (true, false, false));
        assert_eq!(of(r"1\u002e2.3.4", true), (true, true, false));
        assert_eq!(of(r"\u0041", false), (true, true, false));
        assert_eq!(of(r"\ud83d\ude00", false), (true, false, false));
        assert_eq!(of(r"\ude00", false), (true, false, true));
    }
}
