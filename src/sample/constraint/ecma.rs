//! Patterns of JSON Schema are regular expressions of ECMA-262; those of the grammar are of another dialect, and readers of
//! schemas have others again. What means the same in all passes; where sets of characters differ, what all agree on is
//! written; and the rest is refused.

use std::iter::Peekable;
use std::str::Chars;

/// What every dialect takes for a digit, a word character and white space, as the inside of a class; and what some do.
const SETS: [(char, &str, &str); 3] = [
    ('d', "0-9", r"\p{Nd}"),
    ('w', "0-9A-Za-z_", r"\p{L}\p{M}\p{N}\p{Pc}"),
    (
        's',
        r"\t\n\x0b\x0c\r ",
        r"\t\n\x0b\x0c\r\x1c-\x1f \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}",
    ),
];

/// The pattern in the dialect of the grammar. Errors: what the dialect cannot say, in words.
pub fn translate(pattern: &str) -> Result<String, String> {
    let mut chars = pattern.chars().peekable();
    let mut out = String::new();
    while let Some(sign) = chars.next() {
        match sign {
            '\\' => out.push_str(&escape(&mut chars)?),
            '[' => class(&mut chars, &mut out)?,
            '(' => group(&mut chars, &mut out)?,
            '.' => out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            '{' => quantifier(&mut chars, &mut out)?,
            ']' | '}' => out.extend(['\\', sign]),
            sign => out.push(sign),
        }
    }
    Ok(out)
}

/// What follows a backslash outside of a class.
fn escape(chars: &mut Peekable<Chars>) -> Result<String, String> {
    Ok(match chars.peek() {
        Some('d' | 'w' | 's') => format!("[{}]", set(chars, false)),
        Some('D' | 'W' | 'S') => format!("[^{}]", set(chars, true)),
        _ => character(chars)?,
    })
}

/// The set whose letter comes next: what all take for it, or what `some` do.
fn set(chars: &mut Peekable<Chars>, some: bool) -> &'static str {
    let letter = chars.next().map(|letter| letter.to_ascii_lowercase());
    let found = SETS.iter().find(|(of, ..)| Some(*of) == letter);
    found.map_or("", |&(_, all, of_some)| if some { of_some } else { all })
}

/// An escape that stands for one character, also in a class.
fn character(chars: &mut Peekable<Chars>) -> Result<String, String> {
    let refused = |what: &str| Err(format!("\\{what} does not mean the same in every dialect of regular expressions"));
    let Some(sign) = chars.next() else { return Err("a backslash at the end".to_string()) };
    let code = |chars: &mut Peekable<Chars>, digits: usize| {
        let digits: String = (0..digits).map_while(|_| chars.next_if(char::is_ascii_hexdigit)).collect();
        u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).map(|c| format!(r"\x{{{:x}}}", u32::from(c)))
    };
    match sign {
        't' | 'n' | 'r' => Ok(format!("\\{sign}")),
        'v' => Ok(r"\x0b".to_string()),
        'f' => Ok(r"\x0c".to_string()),
        'x' => code(chars, 2).map_or_else(|| refused("x without two digits"), Ok),
        'u' if chars.peek() != Some(&'{') => code(chars, 4).map_or_else(|| refused("u of half a character"), Ok),
        sign if sign.is_ascii_punctuation() || sign == ' ' => Ok(regex::escape(&sign.to_string())),
        sign => refused(&sign.to_string()),
    }
}

/// A class, behind its opening bracket.
fn class(chars: &mut Peekable<Chars>, out: &mut String) -> Result<(), String> {
    out.push('[');
    let is_inverse = chars.next_if_eq(&'^').is_some();
    if is_inverse {
        out.push('^');
    }
    if chars.peek() == Some(&']') {
        return Err("an empty class".to_string());
    }
    let start = out.len();
    loop {
        match chars.next() {
            None => return Err("a class without its closing bracket".to_string()),
            Some(']') => break,
            Some('\\') => match chars.peek() {
                Some('d' | 'w' | 's') => out.push_str(set(chars, is_inverse)),
                Some('D' | 'W' | 'S') => return Err("an inverse set within a class".to_string()),
                Some('b') => {
                    chars.next();
                    out.push_str(r"\x08");
                }
                _ => out.push_str(&character(chars)?),
            },
            // Both dialects read `a-z` alike; a hyphen at an end is one, and so are the signs of set operations.
            Some('-') => match chars.peek() {
                Some(']') => out.push_str(r"\-"),
                _ if out.len() == start => out.push_str(r"\-"),
                _ => out.push('-'),
            },
            Some(sign) if "[&~^".contains(sign) => out.extend(['\\', sign]),
            Some(sign) => out.push(sign),
        }
    }
    out.push(']');
    Ok(())
}

/// What follows an opening parenthesis: only groups.
fn group(chars: &mut Peekable<Chars>, out: &mut String) -> Result<(), String> {
    if chars.next_if_eq(&'?').is_none() {
        out.push('(');
        return Ok(());
    }
    match chars.next() {
        Some(':') => out.push_str("(?:"),
        Some('<') if !matches!(chars.peek(), Some('=' | '!')) => {
            let closed = chars.by_ref().any(|sign| sign == '>');
            out.push_str("(?:");
            if !closed {
                return Err("a name of a group without its end".to_string());
            }
        }
        _ => return Err("(? with anything but a group: there is no grammar for lookaround and flags".to_string()),
    }
    Ok(())
}

/// A quantifier behind its opening brace.
fn quantifier(chars: &mut Peekable<Chars>, out: &mut String) -> Result<(), String> {
    let inside: String = chars.by_ref().take_while(|&sign| sign != '}').collect();
    let is_count = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = match inside.split_once(',') {
        None => is_count(&inside),
        Some((least, most)) => is_count(least) && (most.is_empty() || is_count(most)),
    };
    if !fits {
        return Err(format!("{{{inside}}} is no number of repetitions"));
    }
    out.push_str(&format!("{{{inside}}}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn what_is_translated_means_the_same_in_every_dialect() {
        for (pattern, fits, differs) in [
            (r"^\d+$", "12", "\u{0661}"),
            (r"^\w$", "a", "é"),
            (r"^\s$", "\t", "\u{feff}"),
            (r"^\S$", "é", "\u{85}"),
            (r"^\W\D$", "-é", "éa"),
            (r"^\D$", "x", "\u{0661}"),
            (r"^[^\w]$", "-", "é"),
            (r"^.$", "a", "\r"),
            (r"^[\d\-]+$", "1-2", "a"),
            (r"^[[a]$", "[", "b"),
            (r"^[a&&b]{2}$", "&a", "c"),
            (r"^[-a][a-]$", "--", "b"),
            (r"^[^-x]$", "y", "-"),
            (r"^(?<year>\d{4})(?:x|y)$", "2022x", "2022z"),
            (r"^\u0041\x42\/\.\-$", "AB/.-", "AB"),
            (r"^[\b]$", "\u{8}", "b"),
            (r"a]}$", "a]}", "a]"),
            (r"^\v\f$", "\u{b}\u{c}", "vf"),
        ] {
            let translated = translate(pattern).unwrap();
            let regex = Regex::new(&translated).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert!(regex.is_match(fits) && !regex.is_match(differs), "{pattern}: {translated}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for pattern in [
            r"(?=a)",
            r"(?!a)",
            r"(?<=a)",
            r"(?i)a",
            r"(a)\1",
            r"\bword\b",
            r"\Aa\z",
            r"\cA",
            r"a{,3}",
            r"a{x}",
            r"[]a]",
            r"[^]",
            r"\ud83d\ude00",
            r"\p{Script=Greek}",
            r"\h",
            r"[\D]",
            r"a\",
            r"[a",
            r"\u{61}",
            r"\e",
            r"\0",
        ] {
            assert!(translate(pattern).is_err(), "{pattern}: {:?}", translate(pattern));
        }
    }
}
