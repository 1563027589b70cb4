//! Values where any JSON is allowed: too deep in a record, or beyond the limits of a profile. They too are bounded in the
//! digits of their numbers, so that nothing runs on without end.

use super::written;
use crate::record::json_tree::{Json, Text};

/// Digits that are allowed in any case: before the point, behind it, and in the exponent.
const DIGITS: [usize; 3] = [20, 20, 3];

/// The size of such values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Anywhere {
    digits: [usize; 3],
    /// Whether a string has an escape of half a character.
    halves: bool,
    /// Whether some string of the corpus is opened.
    pub opened: bool,
}

impl Anywhere {
    pub fn add(&mut self, value: &Json) {
        match value {
            Json::Null | Json::Bool(_) => (),
            Json::Number(raw) => {
                let (mantissa, exponent) = raw.split_at(raw.find(['e', 'E']).unwrap_or(raw.len()));
                let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
                let power = exponent.trim_start_matches(['e', 'E', '+', '-']);
                for (known, part) in self.digits.iter_mut().zip([whole, decimals, power]) {
                    *known = (*known).max(part.len());
                }
            }
            Json::Text(text) => self.add_text(text),
            Json::Array(elements) => elements.iter().for_each(|element| self.add(element)),
            Json::Opened(value, _) => {
                self.opened = true;
                self.add(value);
            }
            Json::Object(members) => members.iter().for_each(|(name, value)| {
                self.add_text(name);
                self.add(value);
            }),
        }
    }

    pub fn add_text(&mut self, text: &Text) {
        let mut spelling = written::Spelling::default();
        spelling.add(text, false);
        self.halves |= spelling.has_halves();
    }

    /// Regular expressions for the strings, the numbers and the mark before objects and arrays where they are more than what is
    /// allowed anyhow.
    pub fn unusual(&self) -> Option<[String; 3]> {
        let is_usual =
            self.digits.iter().zip(DIGITS).all(|(&seen, usual)| seen <= usual) && !self.halves && !self.opened;
        (!is_usual).then(|| {
            let [whole, decimals, exponent] = [0, 1, 2].map(|part| self.digits[part].max(DIGITS[part]));
            let mark = if self.opened { r"(\r\r)?" } else { "" };
            [written::text(None, self.halves), number([whole, decimals, exponent]), mark.to_string()]
        })
    }
}

/// Any number of so many digits before the point, behind it, and in the exponent.
fn number([whole, decimals, exponent]: [usize; 3]) -> String {
    format!(r"-?(0|[1-9][0-9]{{0,{whole}}})(\.[0-9]{{1,{decimals}}})?([eE][+-]?[0-9]{{1,{exponent}}})?")
}

/// Any number of a usual size.
pub(crate) fn any_number() -> String {
    number(DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn only_what_is_larger_than_usual_is_told() {
        let mut seen = Anywhere::default();
        seen.add(&Json::of_record(br#"{"a":[1.5,-2e-10,"x\n"],"b":{"c":123456}}"#).unwrap());
        assert_eq!(seen.unusual(), None);
        let long = "7".repeat(60);
        seen.add(&Json::of_record(format!("{{\"a\":[{{\"b\":{long}.{long}e999}}]}}").as_bytes()).unwrap());
        let [text, number, mark] = seen.unusual().unwrap();
        assert_eq!(mark, "");
        let whole = |regex: &str| Regex::new(&format!("^({regex})$")).unwrap();
        assert!(whole(&number).is_match(&format!("{long}.{long}e999")) && !whole(&any_number()).is_match(&long));
        assert!(!whole(&text).is_match(r#""\ud800""#));
        seen.add(&Json::of_record(br#"{"\ud800":1}"#).unwrap());
        assert!(whole(&seen.unusual().unwrap()[0]).is_match(r#""\ud800""#));
        seen.add(&Json::of_record(b"{\"a\":{\r\r}}").unwrap());
        assert_eq!(seen.unusual().unwrap()[2], r"(\r\r)?");
    }
}
