//! Names of persons in running text that letters beyond ASCII give away: two or three words with capitals, one of them with such a
//! letter, as `Guðrún Einarsdóttir` or `Zoë van der Berg`. The messages of programs have no such words, but labels in other languages
//! have: they are longer, or a colon follows them.

use std::ops::Range;

/// Longer words are compounds of other languages, and not names.
const LONGEST: usize = 14;
const PARTICLES: [&str; 14] =
    ["von", "van", "der", "den", "de", "la", "le", "del", "della", "di", "da", "bin", "binti", "al"];

/// The names in a text.
pub fn names(text: &str) -> Vec<Range<usize>> {
    if text.is_ascii() {
        return Vec::new();
    }
    let (mut found, mut words) = (Vec::new(), Vec::new());
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches(' ');
        let place = at..at + bare.len();
        at += word.len();
        let core = core(text, place.clone());
        let is_last = core.end < place.end;
        match &text[core.clone()] {
            word if is_capital(word) && core.start == place.start || words.is_empty() && is_capital(word) => {
                words.push(core)
            }
            word if PARTICLES.contains(&word) && !words.is_empty() && !is_last => words.push(core),
            _ => end(text, &mut words, &mut found),
        }
        if is_last || bare.len() + 1 < word.len() {
            end(text, &mut words, &mut found);
        }
    }
    end(text, &mut words, &mut found);
    found
}

/// The word without what stands around it.
fn core(text: &str, place: Range<usize>) -> Range<usize> {
    let word = &text[place.clone()];
    let begin = word.len() - word.trim_start_matches(|c: char| !c.is_alphanumeric()).len();
    let length = word[begin..]
        .find(|c: char| !(c.is_alphabetic() || matches!(c, '-' | '\'' | '’')))
        .unwrap_or(word.len() - begin);
    let length = word[begin..begin + length].trim_end_matches(['-', '\'', '’']).len();
    place.start + begin..place.start + begin + length
}

fn is_capital(word: &str) -> bool {
    let count = word.chars().count();
    (2..=LONGEST).contains(&count) && word.starts_with(char::is_uppercase) && word.chars().any(char::is_lowercase)
}

/// Ends a name: the words so far are one if they are two or more, and one has a letter beyond ASCII.
fn end(text: &str, words: &mut Vec<Range<usize>>, found: &mut Vec<Range<usize>>) {
    while words.last().is_some_and(|word| !is_capital(&text[word.clone()])) {
        words.pop();
    }
    if let (Some(first), Some(last)) = (words.first(), words.last()) {
        let place = first.start..last.end;
        let capitals = words.iter().filter(|word| is_capital(&text[(*word).clone()])).count();
        let labelled = text[place.end..].starts_with([':', '=', '(']) || text[..place.start].ends_with(['%', '$']);
        if (2..4).contains(&capitals) && !text[place.clone()].is_ascii() && !labelled {
            found.push(place);
        }
    }
    words.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_labels() {
        for (text, expected) in [
            ("paid by Guðrún Einarsdóttir (ext. 7)", vec!["Guðrún Einarsdóttir"]),
            ("from Zoë van der Berg, Łukasz Błaszczyk.", vec!["Zoë van der Berg", "Łukasz Błaszczyk"]),
            ("Rechnung für Ilona Horváth", vec!["Ilona Horváth"]),
            ("CV \"Красимира Вълчева\"", vec!["Красимира Вълчева"]),
            ("Übertragene Dienste: Größe überschritten", vec![]),
            ("Sicherheitsüberwachung Aktiviert, Paul Mbeki, für Éa", vec![]),
        ] {
            let found: Vec<&str> = names(text).into_iter().map(|place| &text[place]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
