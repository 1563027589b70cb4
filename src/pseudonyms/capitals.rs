//! Runs of words with capitals: what names of persons are looked for in.

use std::collections::HashSet;
use std::ops::Range;

/// Longer words are compounds of other languages, and not names.
const LONGEST: usize = 20;
/// Words of names that have no capital.
pub const PARTICLES: [&str; 24] = [
    "von", "van", "der", "den", "de", "la", "le", "del", "della", "di", "da", "dos", "das", "do", "bin", "binti",
    "bint", "ibn", "al", "el", "ten", "ter", "zu", "y",
];
/// Beginnings of names before a second capital: McNab, O'Hara, DeVries.
const BEFORE_CAPITAL: [&str; 12] = ["Mc", "Mac", "De", "Di", "Du", "La", "Le", "Van", "Fitz", "Ter", "Ten", "D"];

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Capital,
    /// All letters are capitals.
    Shouted,
    Initial,
    Particle,
}

#[derive(Clone)]
pub struct Word {
    pub place: Range<usize>,
    pub kind: Kind,
}

/// The runs of words with capitals that may be in a name: with initials and particles between them, one blank or `_` apart.
pub fn runs(text: &str, not: &HashSet<String>) -> Vec<Vec<Word>> {
    let (mut found, mut run): (Vec<Vec<Word>>, Vec<Word>) = (Vec::new(), Vec::new());
    let mut end = |run: &mut Vec<Word>| {
        while run.last().is_some_and(|word| word.kind == Kind::Particle) {
            run.pop();
        }
        if !run.is_empty() {
            found.push(std::mem::take(run));
        }
    };
    let mut at = 0;
    while let Some(place) = next_word(text, at) {
        at = place.end;
        // Most words are small.
        if run.is_empty() && text.as_bytes()[place.start].is_ascii_lowercase() {
            continue;
        }
        let gap = run.last().map(|last| &text[last.place.end..place.start]);
        let joined = gap.is_some_and(|gap| {
            matches!(gap, " " | "_" | "+") || gap == ". " && run.last().is_some_and(|word| word.kind == Kind::Initial)
        });
        if !joined {
            end(&mut run);
        }
        match kind(text, &place) {
            Some(Kind::Particle) if run.is_empty() => {}
            Some(Kind::Capital | Kind::Shouted) if is_no_name(&text[place.clone()], not) => end(&mut run),
            Some(kind) => run.push(Word { place, kind }),
            None => end(&mut run),
        }
    }
    end(&mut run);
    found
}

/// The next word of letters, with hyphens and apostrophes between the letters.
fn next_word(text: &str, from: usize) -> Option<Range<usize>> {
    let start = from + text[from..].find(char::is_alphabetic)?;
    let inside = |c: char| c.is_alphabetic() || matches!(c, '-' | '\'' | '’');
    let end = text[start..].find(|c| !inside(c)).map_or(text.len(), |length| start + length);
    Some(start..start + text[start..end].trim_end_matches(['-', '\'', '’']).len())
}

/// What the word is in a name; `None` if it can be in none.
fn kind(text: &str, place: &Range<usize>) -> Option<Kind> {
    let word = &text[place.clone()];
    if !word.starts_with(char::is_uppercase) {
        return PARTICLES.contains(&word).then_some(Kind::Particle);
    }
    let (before, after) = (text[..place.start].chars().next_back(), text[place.end..].chars().next());
    if before.is_some_and(|c| c.is_numeric() || matches!(c, '.' | '@' | '$' | '%' | '#'))
        || after.is_some_and(|c| c.is_numeric() || matches!(c, '$' | '@' | '{'))
    {
        return None;
    }
    let mut characters = word.chars();
    let first = characters.next()?;
    if characters.next().is_none() {
        return (first.is_alphabetic()).then_some(Kind::Initial);
    }
    let count = word.chars().count();
    if count > LONGEST {
        return None;
    }
    if !word.chars().any(char::is_lowercase) {
        return Some(Kind::Shouted);
    }
    is_capital(word).then_some(Kind::Capital)
}

/// Whether only the first letter of every part is a capital: not as in `KeyVault`.
pub fn is_capital(word: &str) -> bool {
    word.split(['-', '\'', '’']).all(|part| {
        let inner = part.char_indices().skip(1).find(|(_, c)| c.is_uppercase());
        inner.is_none_or(|(at, _)| {
            BEFORE_CAPITAL.contains(&&part[..at]) && !part[at..].chars().skip(1).any(char::is_uppercase)
        })
    })
}

fn is_no_name(word: &str, not: &HashSet<String>) -> bool {
    not.contains(&word.to_lowercase())
}
