//! The persons of a corpus, and the forms in which accounts and devices spell their names: acole, aaron.cole, AARONCOLE.
//!
//! Persons are learnt from fields that contain full names. A form of a name becomes the same form of the pseudonym: if Aaron
//! Cole becomes Mara Voss, acole becomes mvoss. If a form fits two persons, it belongs to the one whose name was in the same
//! record, else to the alphabetically first.
//!
//! Once all persons are known, only the pseudonyms of their names are kept, and keyed hashes of the forms.

use super::hashed::{Layered, NameHash, NameHasher};
use super::words::{Words, with_letters, written_like};
use std::collections::{BTreeSet, HashMap};

/// Given name and surname in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person {
    given: String,
    last: String,
}

/// A part of a name's form.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NamePart {
    Given,
    Last,
    GivenInitial,
    LastInitial,
}

use NamePart::{Given, GivenInitial, Last, LastInitial};

/// The forms of a name that are replaced as a whole: those without a separator and those with an initial. Other forms with a
/// separator (aaron.cole) are replaced word by word.
const FORMS: [(NamePart, &str, NamePart); 15] = [
    (Given, "", Last),
    (Last, "", Given),
    (GivenInitial, "", Last),
    (Last, "", GivenInitial),
    (Given, "", LastInitial),
    (LastInitial, "", Given),
    (GivenInitial, ".", Last),
    (GivenInitial, "-", Last),
    (GivenInitial, "_", Last),
    (Last, ".", GivenInitial),
    (Last, "_", GivenInitial),
    (Last, "-", GivenInitial),
    (Given, ".", LastInitial),
    (Given, "_", LastInitial),
    (Given, "-", LastInitial),
];

type NameForm = (NamePart, &'static str, NamePart);

impl Person {
    /// Parses a display name such as `Aaron J. Cole` or `Cole, Aaron`; `None` if it does not contain two words of letters.
    pub fn from_name(text: &str) -> Option<Self> {
        // Names are replaced run by run, so the parts of Mary-Ann count as two words.
        let words = |text: &str| -> Vec<String> {
            let words = text.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
            words.filter(|word| word.chars().count() > 1).collect()
        };
        let turned = text.split_once(',').map(|(last, given)| (words(given), words(last)));
        let (given, last) = match turned {
            Some((given, last)) => (given.first()?.clone(), last.last()?.clone()),
            None => {
                let words = words(text);
                let [given, .., last] = words.as_slice() else { return None };
                (given.clone(), last.clone())
            }
        };
        Some(Self { given, last })
    }

    fn part(&self, part: NamePart) -> String {
        let initial = |word: &str| word.chars().take(1).collect();
        match part {
            Given => self.given.clone(),
            Last => self.last.clone(),
            GivenInitial => initial(&self.given),
            LastInitial => initial(&self.last),
        }
    }

    fn spelled(&self, (first, separator, second): NameForm) -> String {
        format!("{}{separator}{}", self.part(first), self.part(second))
    }

    /// The spellings of the full name in running text.
    pub fn in_text(&self) -> [String; 4] {
        let (given, last) = (&self.given, &self.last);
        [format!("{given} {last}"), format!("{last}, {given}"), format!("{given}{last}"), format!("{last} {given}")]
    }

    /// The spellings of the full name where programs avoid a space: aaron.cole, cole_aaron, and Aaron%20Cole in a URL.
    pub fn joined(&self) -> Vec<String> {
        let (given, last) = (&self.given, &self.last);
        let turned = [".", "_", "-"].map(|between| format!("{last}{between}{given}"));
        [".", "_", "-", "+", "%20"].map(|between| format!("{given}{between}{last}")).into_iter().chain(turned).collect()
    }

    /// The surname after an initial and a separator: a.cole.
    pub fn with_initial(&self) -> [String; 3] {
        [".", "_", "-"].map(|between| self.spelled((GivenInitial, between, Last)))
    }

    /// The person whose names are in the other order.
    pub fn turned(&self) -> Self {
        Self { given: self.last.clone(), last: self.given.clone() }
    }

    /// The accounts that companies make of the name and that are hardly the form of anything else.
    pub fn accounts(&self) -> impl Iterator<Item = String> {
        let telling = |form: &NameForm| [form.0, form.2].iter().any(|part| matches!(part, GivenInitial | LastInitial));
        let forms = FORMS.into_iter().filter(telling).map(|form| self.spelled(form));
        let between = [".", "_", "-"].map(|between| format!("{}{between}{}", self.given, self.last));
        forms.chain(between).filter(|form| form.chars().count() > 4)
    }

    pub fn last(&self) -> &str {
        &self.last
    }

    /// The person of two words in lower case.
    pub fn of_words(given: String, last: String) -> Self {
        Self { given, last }
    }

    pub fn words(&self) -> [&str; 2] {
        [&self.given, &self.last]
    }
}

/// The pseudonym of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonImage {
    pub given: Box<str>,
    pub last: Box<str>,
    /// The lengths of the original names in characters.
    pub lengths: [u8; 2],
    /// Whether the name consists of common words.
    pub is_common: bool,
}

/// A form of a person's name: the number of the person, and that of the form in [`FORMS`].
pub type FormOf = (u32, u8);

pub struct People {
    hasher: NameHasher,
    /// The persons that are learnt and not finalized yet.
    learnt: BTreeSet<Person>,
    /// Accounts, as hashes, that were in one record with the name of which they are a form.
    linked: HashMap<NameHash, (Person, u8)>,
    persons: Vec<PersonImage>,
    forms: Layered<FormOf>,
    /// The number of persons of the corpus, once it is closed.
    closed: Option<usize>,
}

impl People {
    pub fn new(hasher: NameHasher) -> Self {
        let (learnt, linked, persons, forms) = (BTreeSet::new(), HashMap::new(), Vec::new(), Layered::default());
        Self { hasher, learnt, linked, persons, forms, closed: None }
    }

    /// Learns a person from a record that contains `accounts` (in lower case).
    pub fn learn(&mut self, person: &Person, accounts: &[String]) {
        for account in accounts {
            let stem = account.trim_end_matches(|c: char| c.is_ascii_digit());
            if let Some(form) = FORMS.into_iter().position(|form| person.spelled(form) == stem) {
                let link = || (person.clone(), form as u8);
                self.linked.entry(self.hasher.of(stem)).or_insert_with(link);
            }
        }
        if !self.learnt.contains(person) {
            self.learnt.insert(person.clone());
        }
    }

    /// The persons that are learnt and not finalized yet.
    pub fn learnt(&self) -> impl Iterator<Item = &Person> {
        self.learnt.iter()
    }

    /// The accounts that were seen beside the name of which they are a form, with the person and the form, ordered by hash.
    pub fn linked(&self) -> Vec<(NameHash, &Person, u8)> {
        let mut linked: Vec<_> = self.linked.iter().map(|(hash, (person, form))| (*hash, person, *form)).collect();
        linked.sort_unstable_by_key(|(hash, ..)| *hash);
        linked
    }

    /// Takes in a person that records taught which come behind all that is learnt here.
    pub fn absorb(&mut self, person: Person) {
        self.learnt.insert(person);
    }

    /// Takes in such an account, whose person is learnt; false if there is no such form.
    pub fn absorb_linked(&mut self, account: NameHash, person: Person, form: u8) -> bool {
        let fits = usize::from(form) < FORMS.len() && self.learnt.contains(&person);
        self.linked.entry(account).or_insert((person, form));
        fits
    }

    /// Decides whose name each spelling is, after all persons are known, and gives the persons their pseudonyms.
    pub fn finalize(&mut self, words: &mut Words, is_common: impl Fn(&Person, &Words) -> bool) {
        let learnt: Vec<Person> = std::mem::take(&mut self.learnt).into_iter().collect();
        let mut numbers = Vec::with_capacity(learnt.len());
        for person in &learnt {
            let length = |word: &str| word.chars().count().min(u8::MAX.into()) as u8;
            let image = PersonImage {
                given: words.word(&person.given).into(),
                last: words.word(&person.last).into(),
                lengths: [length(&person.given), length(&person.last)],
                is_common: is_common(person, words),
            };
            // A person of the corpus that this one goes on from, or of the corpus of a record.
            let known = self.forms.get(self.hasher.of(&person.spelled(FORMS[0]))).map(|(number, _)| *number);
            let number = known.filter(|number| self.persons[*number as usize] == image).unwrap_or_else(|| {
                self.persons.push(image);
                self.persons.len() as u32 - 1
            });
            numbers.push(number);
        }
        let number = |person: &Person| learnt.binary_search(person).map(|at| numbers[at]);
        for (spelling, (person, form)) in std::mem::take(&mut self.linked) {
            self.forms.put_new(spelling, (number(&person).expect("linked persons are learnt"), form));
        }
        for (at, form) in FORMS.into_iter().enumerate() {
            for (person, number) in learnt.iter().zip(&numbers) {
                self.forms.put_new(self.hasher.of(&person.spelled(form)), (*number, at as u8));
            }
        }
    }

    /// Whose name an account (in lower case) spells.
    pub fn whose(&self, lower: &str) -> Option<&PersonImage> {
        self.forms.get(self.hasher.of(lower)).map(|(person, _)| &self.persons[*person as usize])
    }

    /// From here on, what is added belongs to a record.
    pub fn close(&mut self) {
        self.closed = Some(self.persons.len());
        self.forms.close();
    }

    /// Removes what a record added.
    pub fn forget(&mut self) {
        self.persons.truncate(self.closed.unwrap_or(usize::MAX));
        self.forms.forget();
    }

    /// The persons, and the forms of their names.
    pub fn entries(&self) -> (&[PersonImage], Vec<(NameHash, &FormOf)>) {
        (&self.persons, self.forms.sorted())
    }

    /// Takes in the persons and forms of a corpus; false if they do not belong together.
    pub fn restore(&mut self, persons: Vec<PersonImage>, forms: Vec<(NameHash, FormOf)>) -> bool {
        let fits = |(person, form): FormOf| (person as usize) < persons.len() && usize::from(form) < FORMS.len();
        let all_fit = forms.iter().all(|(_, form)| fits(*form));
        self.persons = persons;
        forms.into_iter().for_each(|(hash, form)| self.forms.put(hash, form));
        all_fit
    }

    /// The pseudonym of an account or a part of a host name that spells a person's name, with or without digits after it;
    /// `None` if it spells nobody's name.
    pub fn spelling(&self, text: &str, words: &mut Words) -> Option<String> {
        let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let lower = stem.to_lowercase();
        let (person, form) = self.forms.get(self.hasher.of(&lower))?;
        let (first, separator, second) = FORMS[usize::from(*form)];
        let person = &self.persons[*person as usize];
        let image = |part: NamePart| -> String {
            match part {
                Given => person.given.to_string(),
                Last => person.last.to_string(),
                GivenInitial => person.given.chars().take(1).collect(),
                LastInitial => person.last.chars().take(1).collect(),
            }
        };
        let images = [image(first), image(second)];
        let wanted = format!("{}{separator}{}", images[0], images[1]);
        // Two accounts may get the same pseudonym (those of Aaron and Bob Cole as Mara and Milo Voss): the second gets a
        // letter.
        let claimed = words.claim(&lower, |attempt| with_letters(&wanted, attempt));
        // If upper and lower case differ in length, the pseudonym does not follow the case of the original.
        let written = if stem.len() == lower.len() { stem } else { lower.as_str() };
        let length = match first {
            Given => person.lengths[0].into(),
            Last => person.lengths[1].into(),
            GivenInitial | LastInitial => 1,
        };
        let cut = written.char_indices().nth(length).map_or(written.len(), |(at, _)| at);
        let second = written.get(cut + separator.len()..).unwrap_or("");
        let [before, after] = [(&written[..cut], &images[0]), (second, &images[1])]
            .map(|(original, image)| written_like(original, image));
        let letters = written_like(written, claimed.strip_prefix(&wanted).unwrap_or(""));
        Some(format!("{before}{separator}{after}{letters}{}", &text[stem.len()..]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::SecretKey;
    use super::*;
    use std::collections::HashSet;

    fn setting(names: &[&str], accounts: &[&str]) -> (People, Words) {
        let key = SecretKey::new(&[5; 32]);
        let mut words = Words::new(key.clone(), HashSet::new());
        let mut people = People::new(NameHasher::new(&key));
        let accounts: Vec<String> = accounts.iter().map(|a| a.to_string()).collect();
        names.iter().for_each(|name| people.learn(&Person::from_name(name).unwrap(), &accounts));
        people.finalize(&mut words, |_, _| false);
        (people, words)
    }

    #[test]
    fn names_are_read_in_both_orders() {
        let expected = Some(Person { given: "aaron".into(), last: "cole".into() });
        for name in ["Aaron Cole", "Cole, Aaron", "Aaron J. Cole", "AARON  COLE"] {
            assert_eq!(Person::from_name(name), expected, "{name}");
        }
        assert_eq!(Person::from_name("SYSTEM"), None);
        assert_eq!(Person::from_name("A B"), None);
    }

    #[test]
    fn every_form_belongs_to_the_same_pseudonym() {
        let (people, mut words) = setting(&["Aaron Cole"], &[]);
        let (given, last) = (words.word("aaron"), words.word("cole"));
        let initial = &given[..1];
        for (text, expected) in [
            ("acole", format!("{initial}{last}")),
            ("AARONCOLE", format!("{given}{last}").to_uppercase()),
            ("acole1", format!("{initial}{last}1")),
            ("a.cole", format!("{initial}.{last}")),
            ("coleaaron", format!("{last}{given}")),
            ("AaronC", format!("{}{}", written_like("Aaron", &given), last[..1].to_uppercase())),
        ] {
            assert_eq!(people.spelling(text, &mut words), Some(expected), "{text}");
        }
        assert_eq!(people.spelling("bcole", &mut words), None);
    }

    #[test]
    fn an_account_is_the_persons_beside_whose_name_it_was_seen() {
        let key = SecretKey::new(&[5; 32]);
        let mut words = Words::new(key.clone(), HashSet::new());
        let mut people = People::new(NameHasher::new(&key));
        people.learn(&Person::from_name("Aaron Cole").unwrap(), &[]);
        people.learn(&Person::from_name("Anna Cole").unwrap(), &["acole".into()]);
        people.finalize(&mut words, |_, _| false);
        let anna = words.word("anna")[..1].to_string() + &words.word("cole");
        assert_eq!(people.spelling("acole", &mut words), Some(anna));
    }

    #[test]
    fn accounts_that_come_out_alike_get_a_letter() {
        // With many given names and one surname, some pseudonyms share an initial.
        let names: Vec<String> = ('a'..='z').map(|c| format!("{c}{c}dam Cole")).collect();
        let (people, mut words) = setting(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let accounts: HashSet<_> =
            ('a'..='z').map(|c| people.spelling(&format!("{c}cole"), &mut words).unwrap()).collect();
        assert_eq!(accounts.len(), 26);
    }
}
