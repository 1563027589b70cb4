//! Names of persons in running text, file names and titles: `Guðrún Einarsdóttir`, `Payslip Amelia van der Berg.pdf`, `called Aaron`.
//!
//! A name is a run of words with capitals in which something says that it is one: a given name before another word, a letter beyond
//! ASCII, or what stands before it (`requested by`). The messages of programs have capitals, too, so that words of products, companies
//! and departments end a name, and given names that are also words need more than one sign.

use super::capitals::{Kind, PARTICLES, Word, is_capital, runs};
use super::ideographs;
use super::lexicon::{Given, given};
use std::collections::HashSet;
use std::ops::Range;

/// Longer words are compounds of other languages, and not names, unless a given name stands beside them.
const LONGEST_ALONE: usize = 14;
/// The most words of a name.
const MOST_WORDS: usize = 5;
/// Words after which persons are named, if more than one word with a capital follows.
const TITLES: [&str; 37] = [
    "attn",
    "dear",
    "applicant",
    "candidate",
    "beneficiary",
    "payee",
    "cardholder",
    "recipient",
    "caller",
    "visitor",
    "passenger",
    "attendee",
    "assignee",
    "requester",
    "requestor",
    "approver",
    "reviewer",
    "reporter",
    "claimant",
    "patient",
    "employee",
    "customer",
    "tenant",
    "nurse",
    "mr",
    "mrs",
    "ms",
    "miss",
    "mme",
    "herr",
    "frau",
    "dr",
    "prof",
    "employees",
    "contractor",
    "signatory",
    "insured",
];
/// Words before `by`, `to`, `with`, `from`, `for` or `of` and a person.
const DEEDS: [&str; 66] = [
    "requested",
    "approved",
    "reported",
    "asked",
    "opened",
    "reviewed",
    "signed",
    "submitted",
    "raised",
    "filed",
    "authorized",
    "authorised",
    "confirmed",
    "verified",
    "cancelled",
    "declined",
    "denied",
    "assigned",
    "reassigned",
    "escalated",
    "delegated",
    "transferred",
    "promised",
    "spoke",
    "talked",
    "speaking",
    "call",
    "called",
    "meeting",
    "chat",
    "message",
    "mail",
    "email",
    "e-mail",
    "letter",
    "invoice",
    "contract",
    "offer",
    "payslip",
    "quote",
    "booking",
    "appointment",
    "ticket",
    "refund",
    "statement",
    "cv",
    "resume",
    "application",
    "complaint",
    "interview",
    "reminder",
    "behalf",
    "payment",
    "salary",
    "failed",
    "login",
    "owned",
    "shared",
    "handled",
    "invited",
    "sponsored",
    "hired",
    "disputed",
    "paid",
    "witnessed",
    "attack",
];
const LINKS: [&str; 9] = ["by", "to", "with", "from", "for", "of", "on", "per", "as"];
/// Words before a given name that stands alone.
const ADDRESSES: [&str; 24] = [
    "by", "for", "with", "from", "to", "of", "ask", "asked", "call", "called", "calling", "told", "tell", "contact",
    "cc", "hi", "hello", "dear", "hey", "thanks", "regards", "attn", "per", "laptop",
];

/// The names in a text. `not` are words of which no name has one, in lower case.
pub fn names(text: &str, not: &HashSet<String>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for run in runs(text, not) {
        let known = found.len();
        in_run(text, &run, &mut found);
        if found.len() == known {
            let follows = found.last().is_some_and(|last| joins(&text[last.end..run[0].place.start.max(last.end)]));
            let other = foreign(text, &run).or_else(|| introduced(text, &run, follows));
            found.extend(other.or_else(|| turned(text, &run)));
        }
    }
    if !text.is_ascii() {
        found.extend(ideographs::names(text));
    }
    found
}

/// Whether a text between two names joins them: `opened by Odalys Ferreyra for Wim Haak`.
fn joins(between: &str) -> bool {
    matches!(between, " for " | " to " | " and " | " with " | " from " | " by " | ", " | " & ")
}

/// A name whose surname comes first, before a comma: `Tanaka, Hiroko`.
fn turned(text: &str, run: &[Word]) -> Option<Range<usize>> {
    let [last] = run else { return None };
    let surely = |word: &str| is_capital(word) && given(&word.to_lowercase()) == Some(Given::Surely);
    let rest = text[last.place.end..].strip_prefix(", ")?;
    let first = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
    let quoted = text[..last.place.start].ends_with(['"', '\'', '=']);
    (quoted && surely(first) && is_capital(&text[last.place.clone()]))
        .then(|| last.place.start..last.place.end + 2 + first.len())
}

/// Two words with capitals that may be a name, if an account says so: each pair in the text.
pub fn pairs<'a>(text: &'a str, not: &HashSet<String>) -> Vec<[&'a str; 2]> {
    let mut found = Vec::new();
    for run in runs(text, not) {
        let named: Vec<&str> =
            run.iter().filter(|word| word.kind != Kind::Initial).map(|word| &text[word.place.clone()]).collect();
        let fits = |word: &str| word.len() > 2 && !PARTICLES.contains(&word);
        found.extend(named.windows(2).filter(|pair| fits(pair[0]) && fits(pair[1])).map(|pair| [pair[0], pair[1]]));
    }
    found
}

/// The names in a run that begin with a given name.
fn in_run(text: &str, run: &[Word], found: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while at < run.len() {
        match begins_here(text, run, at) {
            Some((from, end)) => {
                let place = run[from].place.start..run[end - 1].place.end;
                if !is_label(text, &place) {
                    found.push(place);
                }
                at = end;
            }
            None => at += 1,
        }
    }
}

/// The words of the name whose given name is the word with this number.
fn begins_here(text: &str, run: &[Word], at: usize) -> Option<(usize, usize)> {
    let word = &text[run[at].place.clone()];
    if !matches!(run[at].kind, Kind::Capital | Kind::Shouted) {
        return None;
    }
    let strength = given(&word.to_lowercase())?;
    let goes_on = |word: &Word| match word.kind {
        Kind::Particle | Kind::Initial => true,
        kind => kind == run[at].kind,
    };
    let length = run[at + 1..].iter().take(MOST_WORDS - 1).take_while(|word| goes_on(word)).count();
    let mut end = at + 1 + length;
    while run[end - 1].kind == Kind::Particle {
        end -= 1;
    }
    let others: Vec<&Word> = run[at + 1..end].iter().filter(|word| word.kind == run[at].kind).collect();
    let sign = || {
        let other = |word: &&Word| {
            let word = &text[word.place.clone()];
            !word.is_ascii() || given(&word.to_lowercase()) == Some(Given::Surely)
        };
        others.iter().any(other) || at == 0 && introduces(text, run[0].place.start)
    };
    let shouted = run[at].kind == Kind::Shouted;
    let fits = match (strength, others.len()) {
        (Given::Surely, 1..) => !shouted || word.len() > 3 && others.iter().all(|other| other.place.len() > 3),
        (Given::Perhaps, 1..) => !shouted && sign(),
        // An initial behind a given name, or a word before it that persons are addressed with.
        (Given::Surely, 0) => {
            !shouted && (end > at + 1 && text[run[end - 1].place.end..].starts_with('.') || is_addressed(text, run, at))
        }
        (Given::Perhaps, 0) => false,
    };
    fits.then_some((at, end))
}

/// Whether a given name stands alone behind a word that persons are addressed with.
fn is_addressed(text: &str, run: &[Word], at: usize) -> bool {
    let place = &run[at].place;
    let alone = run.len() == 1 && place.len() > 3;
    let after = &text[place.end..];
    let ends = after.is_empty() || after.starts_with([' ', ',', ';', ':', '"', ')', '!', '?', '\'']);
    let ends = ends || after.starts_with('.') && !after[1..].starts_with(char::is_alphanumeric);
    alone && ends && last_words(text, place.start).is_some_and(|[last, _]| is_one(last, &ADDRESSES))
}

/// The place of a word and of the words of a name behind it.
pub fn continued(text: &str, place: Range<usize>, not: &HashSet<String>) -> Range<usize> {
    let is_word = |word: &str| is_capital(word) && word.chars().count() > 1 && word.starts_with(char::is_uppercase);
    if !is_word(&text[place.clone()]) {
        return place;
    }
    let run = runs(&text[place.start..], not).into_iter().next();
    let words = run.filter(|run| run[0].place.start == 0).unwrap_or_default();
    let end = words.iter().take(MOST_WORDS).map(|word| place.start + word.place.end).next_back().unwrap_or(place.end);
    place.start..end.max(place.end)
}

/// Whether the words before a place introduce a person.
fn introduces(text: &str, place: usize) -> bool {
    let Some([last, before]) = last_words(text, place) else { return false };
    is_one(last, &TITLES) || is_one(last, &LINKS) && is_one(before, &DEEDS)
}

/// Whether a word is one of these, in any case.
fn is_one(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| other.eq_ignore_ascii_case(word))
}

/// The last word before a place, and the one before it; none if anything but blanks, a colon or a quote stands between.
fn last_words(text: &str, place: usize) -> Option<[&str; 2]> {
    let before = text[..place].strip_suffix(['"', '\'', '(']).unwrap_or(&text[..place]);
    let mut head = before.strip_suffix(' ')?.trim_end_matches([':', '.']);
    let mut words = [""; 2];
    for word in &mut words {
        let inside = |c: char| c.is_alphanumeric() || c == '-';
        let start = head.rfind(|c| !inside(c)).map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
        *word = &head[start..];
        head = head[..start].trim_end_matches(' ');
    }
    Some(words)
}

/// Whether a label or a name of a program continues behind the place, or a variable begins before it.
fn is_label(text: &str, place: &Range<usize>) -> bool {
    let after = &text[place.end..];
    after.starts_with(['=', '(', '\\']) && !after.starts_with("\\\\") && !after.starts_with("\\\"")
        || text[..place.start].ends_with(['%', '$'])
}

/// A run of two or three words with capitals of which one has a letter beyond ASCII. Messages of programs have no such words, but
/// labels in other languages have: they are longer, or a colon follows them.
fn foreign(text: &str, run: &[Word]) -> Option<Range<usize>> {
    let capital =
        |word: &&Word| word.kind == Kind::Capital && text[word.place.clone()].chars().count() <= LONGEST_ALONE;
    let capitals = run.iter().filter(capital).count();
    let place = run.first()?.place.start..run.last()?.place.end;
    let words = || run.iter().filter(|word| word.kind != Kind::Particle);
    let fits = (2..4).contains(&capitals)
        && words().all(|word| word.kind == Kind::Initial || capital(&word))
        && !text[place.clone()].is_ascii()
        && !is_label(text, &place)
        && !text[place.end..].starts_with(':');
    fits.then_some(place)
}

/// Words before `by` and a single name.
const DEEDS_OF_ONE: [&str; 13] = [
    "requested",
    "approved",
    "reported",
    "reviewed",
    "submitted",
    "asked",
    "raised",
    "authorized",
    "authorised",
    "confirmed",
    "promised",
    "disputed",
    "invited",
];

/// A single name behind words that only persons stand behind, or one with a letter beyond ASCII behind an English word.
fn single(text: &str, word: &Word) -> Option<Range<usize>> {
    let name = &text[word.place.clone()];
    if word.kind != Kind::Capital || name.len() < 4 {
        return None;
    }
    let [last, before] = last_words(text, word.place.start)?;
    let deed = last == "by" && is_one(before, &DEEDS_OF_ONE);
    let foreign = !name.is_ascii() && matches!(last, "by" | "for" | "with" | "from" | "to");
    ((deed || foreign) && !is_label(text, &word.place)).then(|| word.place.clone())
}

/// Two or three words with capitals behind words that introduce persons.
fn introduced(text: &str, run: &[Word], follows: bool) -> Option<Range<usize>> {
    if let [word] = run {
        return single(text, word);
    }
    if run.first()?.kind != Kind::Capital || !follows && !introduces(text, run[0].place.start) {
        return None;
    }
    let named = |word: &&Word| word.kind != Kind::Shouted;
    let length = run.iter().take(MOST_WORDS).take_while(named).count();
    let words = run[..length].iter().filter(|word| word.kind == Kind::Capital).count();
    let place = run[0].place.start..run.get(length.checked_sub(1)?)?.place.end;
    ((2..4).contains(&words) && length == run.len() && !is_label(text, &place)).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let not = ["windows", "defender", "server", "office", "team", "policy", "dienste"]
            .map(String::from)
            .into_iter()
            .collect();
        names(text, &not).into_iter().map(|place| &text[place]).collect()
    }

    #[test]
    fn letters_beyond_ascii_tell_names_from_labels() {
        for (text, expected) in [
            ("paid by Guðrún Einarsdóttir (ext. 7)", vec!["Guðrún Einarsdóttir"]),
            ("from Zoë van der Berg, Łukasz Błaszczyk.", vec!["Zoë van der Berg", "Łukasz Błaszczyk"]),
            ("Rechnung für Ilona Horváth", vec!["Ilona Horváth"]),
            ("CV \"Красимира Вълчева\"", vec!["Красимира Вълчева"]),
            ("szerzodes_Varga_Gábor.pdf", vec!["Varga_Gábor"]),
            ("Übertragene Dienste: Größe überschritten", vec![]),
            ("Sicherheitsüberwachung Aktiviert, für Éa", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn given_names_tell_names_from_products() {
        for (text, expected) in [
            ("payslips/Priscilla Raghuvanshi - 2026-01.pdf", vec!["Priscilla Raghuvanshi"]),
            (
                "Invoice for Pieter van Rensburg and Maria O'Connor-Ruiz",
                vec!["Pieter van Rensburg", "Maria O'Connor-Ruiz"],
            ),
            ("Homeoffice Svenja Krause", vec!["Svenja Krause"]),
            ("passport_Selma_Dursun.jpg, RUTH ABERNATHY", vec!["Selma_Dursun", "RUTH ABERNATHY"]),
            ("requested by Grace Muthoni; Mark Complete, Grace Period", vec!["Grace Muthoni"]),
            ("call Bartek on 12, message to Ebba: x, Ebba said", vec!["Bartek", "Ebba"]),
            ("Simon B. and J. R. Tolk", vec!["Simon B"]),
            ("Max Size, Victoria Server, Jordan Office Team, Julia=5", vec![]),
            ("KeyVault Simon7 Paul@x.y Simon Windows, by Windows Defender", vec![]),
            ("com.example.Simon Peter.java a.Simon", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn words_before_a_name_introduce_it() {
        for (text, expected) in [
            ("approved by Qwil Vorster", vec!["Qwil Vorster"]),
            ("Applicant: Xant Bruyse, SSN", vec!["Xant Bruyse"]),
            ("approved by Windows Defender, sent to Office Team", vec![]),
            ("by Qwil Vorster", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn pairs_of_words_are_names_perhaps() {
        let not = ["server".to_string()].into_iter().collect();
        assert_eq!(pairs("Zanth Dlam, Ibo van Quirk Rest Server", &not), [["Zanth", "Dlam"], ["Quirk", "Rest"]]);
    }
}
