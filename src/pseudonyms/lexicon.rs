//! Given names of persons, and how surely they are nothing else.

use std::collections::HashMap;
use std::sync::OnceLock;

const NAMES: &str = include_str!("given-names.txt");

/// How much a word says of a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given {
    /// It is a given name, and hardly anything else.
    Surely,
    /// It is also a word, a place or a product.
    Perhaps,
}

/// Whether a word in lower case is a given name. Names with letters beyond ASCII are not in the list: such letters say enough.
pub fn given(lower: &str) -> Option<Given> {
    static ALL: OnceLock<HashMap<&'static str, Given>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut strength = Given::Surely;
        let mut all = HashMap::with_capacity(32_768);
        // The first comment is about the list, the second begins the names that may be something else.
        for (at, line) in NAMES.lines().enumerate() {
            match line.starts_with('#') {
                true => strength = if at < 10 { Given::Surely } else { Given::Perhaps },
                false => all.extend(line.split(' ').map(|name| (name, strength))),
            }
        }
        all
    });
    let first = || lower.split('-').next().filter(|first| first.len() > 2).and_then(|first| all.get(first));
    all.get(lower).or_else(first).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_words() {
        for name in ["aaron", "zoltan", "jean-luc", "kwame", "nguyen"] {
            assert_eq!(given(name), Some(Given::Surely), "{name}");
        }
        for name in ["mark", "paris", "cassandra", "max"] {
            assert_eq!(given(name), Some(Given::Perhaps), "{name}");
        }
        for word in ["windows", "policy", "#", "the", "", "faker"] {
            assert_eq!(given(word), None, "{word}");
        }
    }
}
