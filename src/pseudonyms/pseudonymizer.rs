//! The two passes over a corpus: the first learns names, the second replaces them record by record.

use super::beside;
use super::census::{Census, WordReport};
use super::hashed::NameHasher;
use super::key::SecretKey;
use super::known::KnownNames;
use super::members;
use super::namesakes::Namesakes;
use super::nested;
use super::parts::{self, Change, RecordPart};
use super::people::Person;
use super::permute::Direction;
use super::persons;
use super::places::{self, Candidate, PlacesOfTexts};
use super::replacer::Replacer;
use super::rules::{Action, Rules, Treatment};
use super::spelled;
use super::values::{self, Spot};
use super::words::Words;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// The most paths that a report lists. In objects that are keyed by data, paths could be countless.
const LISTED_PATHS: usize = 1000;
/// The paths under which a report counts places in plain text, and places in fields beyond [`LISTED_PATHS`].
const IN_TEXT: &str = "(text)";
const OTHER: &str = "(other paths)";

pub struct Pseudonymizer {
    pub(super) rules: Rules,
    pub(super) replacer: Replacer,
    pub(super) known: KnownNames,
    kept: PlacesOfTexts,
    pub(super) namesakes: Namesakes,
    report: PseudonymReport,
    /// The numbers of pseudonyms by class that could not be undone.
    left: BTreeMap<&'static str, u64>,
    /// Counts words, if they are asked for.
    census: Option<Census>,
}

/// What was replaced. A report contains no values, neither originals nor pseudonyms.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PseudonymReport {
    pub records: u64,
    /// Records in which anything was replaced.
    pub changed_records: u64,
    /// The numbers of replaced places by class.
    pub by_class: BTreeMap<String, u64>,
    /// The numbers of replaced places by path and class; the path `(text)` is plain text.
    pub by_path: BTreeMap<String, BTreeMap<String, u64>>,
    /// The number of persons learnt from fields that contain full names.
    pub persons: usize,
    /// The number of distinct names and words with a pseudonym.
    pub distinct_names: usize,
}

/// The persons and accounts in one record.
#[derive(Default)]
struct Learnt {
    persons: Vec<Person>,
    /// Accounts as they are written, in lower case.
    accounts: Vec<String>,
}

impl Pseudonymizer {
    pub fn new(key: SecretKey, rules: Rules) -> Self {
        Self::with(key, rules, Direction::Replace)
    }

    /// One that reads pseudonyms and turns those back into originals that say what they stand for: addresses and
    /// identifiers, which are permuted. Words are drawn, coordinates moved and secrets gone; they stay.
    pub fn undoing(key: SecretKey, rules: Rules) -> Self {
        Self::with(key, rules, Direction::Undo)
    }

    fn with(key: SecretKey, rules: Rules, direction: Direction) -> Self {
        let known = KnownNames::new(NameHasher::new(&key));
        let (report, left, kept) = (PseudonymReport::default(), BTreeMap::new(), PlacesOfTexts::default());
        let (replacer, namesakes) = (Replacer::new(key, &rules, direction), Namesakes::default());
        Self { replacer, rules, kept, namesakes, known, report, left, census: None }
    }

    /// Counts words from here on, for [`Self::word_report`].
    pub fn count_words(&mut self, key: &SecretKey) {
        self.census = Some(Census::new(key));
    }

    /// The words that were replaced, if they were counted. It contains originals.
    pub fn word_report(&self) -> Option<WordReport> {
        self.census.as_ref().map(Census::report)
    }

    /// First pass: learns the names in a record. [`Self::finalize`] follows the last record.
    pub fn learn(&mut self, record: &[u8]) {
        let mut learnt = Learnt::default();
        self.known.is_complete = false;
        let parts = parts::parts(record);
        for (part, field) in parts.iter().zip(beside::paths(&parts)) {
            let treatment = field.and_then(|path| self.rules.field(&path));
            let typed = treatment.as_ref().filter(|treatment| !treatment.is_text());
            match typed {
                Some(treatment) => match values::of_value(&part.text, treatment) {
                    spots if spots.is_empty() && part.is_string => self.learn_text(&part.text, &mut learnt),
                    spots => self.learn_spots(spots, &mut learnt),
                },
                None if part.is_string => self.learn_text(&part.text, &mut learnt),
                None => {}
            }
        }
        for member in members::members(record, &parts) {
            // Names that are known by now teach nothing new, so what is learnt does not depend on the order of the records.
            for (place, treatment) in self.name_places(&member.name.text, None) {
                self.learn_value(treatment.action, &member.name.text[place], &mut learnt);
            }
        }
        for person in &learnt.persons {
            self.replacer.people.learn(person, &learnt.accounts);
        }
    }

    fn learn_text(&mut self, text: &str, learnt: &mut Learnt) {
        // Whether the text is a user agent does not matter here, because nothing is learnt from addresses.
        let spots = nested::of_text(text, &mut self.rules, &mut self.kept, &self.known, false, 0);
        self.learn_spots(spots, learnt);
        persons::pairs(text, &self.rules.not_names).into_iter().for_each(|pair| self.namesakes.add(pair));
    }

    fn learn_spots(&mut self, spots: Vec<Spot>, learnt: &mut Learnt) {
        let mut taken = Taken::new();
        for spot in spots {
            let place = spot.place().clone();
            if !is_free(&taken, &place) {
                continue;
            }
            taken.insert(place.start, (place.end, ()));
            match spot {
                Spot::Value { treatment, text, .. } => self.learn_value(treatment.action, &text, learnt),
                Spot::Encoded { spots, .. } => self.learn_spots(spots, learnt),
            }
        }
    }

    fn learn_value(&mut self, action: Action, text: &str, learnt: &mut Learnt) {
        let text = text.trim();
        if self.replacer.keeps_account(text) {
            return;
        }
        match action {
            Action::Name if text.contains(['@', '\\']) => self.learn_account(text, learnt),
            Action::Name if self.replacer.names_a_thing(text) => {}
            Action::Name => match Person::from_name(text) {
                Some(person) => {
                    learnt.persons.push(person);
                    self.known.add(&text.to_lowercase(), Action::Name);
                }
                None => self.learn_account(text, learnt),
            },
            // Some programs write full names where others write accounts.
            Action::User if Person::from_name(text).is_some() && text.contains(' ') && !text.contains(['@', '\\']) => {
                self.learn_value(Action::Name, text, learnt);
            }
            Action::User | Action::Email => self.learn_account(text, learnt),
            Action::Host | Action::Domain => self.learn_host(text),
            Action::Account if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) => {
                self.known.add(text, Action::Account);
            }
            Action::Arn => {
                let parts: Vec<&str> = text.splitn(6, ':').collect();
                let [.., account, resource] = parts.as_slice() else { return };
                self.learn_value(Action::Account, account, learnt);
                if let Some(user) = resource.strip_prefix("user/") {
                    self.learn_account(user.rsplit('/').next().unwrap_or(user), learnt);
                }
            }
            _ => {}
        }
    }

    fn learn_account(&mut self, text: &str, learnt: &mut Learnt) {
        if let Some((domain, user)) = text.split_once('\\') {
            if !self.replacer.keeps_account(domain) {
                self.replacer.learn_domain(&domain.to_lowercase());
                self.learn_host(domain);
            }
            return self.learn_value(Action::User, user, learnt);
        }
        if let Some((local, domain)) = text.rsplit_once('@') {
            self.learn_host(domain);
            return self.learn_value(Action::User, local, learnt);
        }
        if let Some(machine) = text.strip_suffix('$') {
            return self.learn_host(machine);
        }
        let lower = text.to_lowercase();
        if let Some((given, last)) = spelled::spelled_out(&lower) {
            self.known.add(&format!("{given} {last}"), Action::Name);
            self.known.add(&format!("{last}, {given}"), Action::Name);
            self.known.add(&format!("{given}_{last}"), Action::Name);
        }
        self.learn_name(&lower, Action::User);
        learnt.accounts.push(lower);
    }

    /// Learns a host or domain name, and the first label of a full host name.
    fn learn_host(&mut self, text: &str) {
        let lower = text.trim_end_matches('.').to_lowercase();
        let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_' || c == '.');
        let is_address = lower.chars().all(|c| c.is_ascii_digit() || c == '.') || lower.contains(':');
        if !is_name(&lower) || is_address || self.replacer.keeps_account(&lower) || self.replacer.keeps_domain(&lower) {
            return;
        }
        match lower.split_once('.') {
            Some((label, _)) => {
                // A first label with a digit or a dash probably names a host; that of a domain has only letters.
                if label.contains(|c: char| c.is_ascii_digit() || c == '-') {
                    self.learn_name(label, Action::Host);
                }
                self.learn_name(&lower, Action::Domain);
            }
            None => {
                self.replacer.learn_domain(&lower);
                self.learn_name(&lower, Action::Host);
            }
        }
    }

    /// Learns a name that is to be searched for in all text, if it is distinctive enough.
    fn learn_name(&mut self, lower: &str, action: Action) {
        let letters = lower.chars().filter(|c| c.is_alphabetic()).count();
        let distinctive = lower.chars().count() > 3 && letters > 1 && !self.replacer.words.keeps(lower);
        let text = lower.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '\''));
        if distinctive && text && !self.rules.common_words.contains(lower) {
            self.known.add(lower, action);
        }
    }

    /// Ends the first pass: all names are now known.
    pub fn finalize(&mut self) {
        let is_account = |form: &str| self.known.action(form) == Some(Action::User);
        for person in self.namesakes.named_by(is_account) {
            self.replacer.people.learn(&person, &[]);
        }
        let persons: Vec<Person> = self.replacer.people.learnt().cloned().collect();
        let mut known = Vec::new();
        for person in &persons {
            person.words().iter().for_each(|word| self.replacer.words.avoid(word));
            known.extend(person.in_text());
            if !is_common(person, &self.replacer.words, &self.rules) {
                known.extend(person.joined());
            }
            // Common words with an initial, such as e-mail and x-force, are not names.
            if person.last().chars().count() > 2 && !is_common_word(person.last(), &self.replacer.words, &self.rules) {
                known.extend(person.with_initial());
            }
            known.drain(..).for_each(|name| self.known.add(&name, Action::Name));
        }
        self.known.is_complete = true;
        self.known.new_hashes().for_each(|name| self.replacer.words.avoid_hash(name));
        self.report.persons += persons.len();
        let Self { rules, replacer: Replacer { people, words, .. }, .. } = self;
        people.finalize(words, |person, words| is_common(person, words, rules));
    }

    /// From here on, what is learnt belongs to a record, until it is forgotten.
    pub(super) fn close(&mut self) {
        self.known.close();
        self.replacer.close();
    }

    /// Removes what a record added.
    pub(super) fn forget(&mut self) {
        self.known.forget();
        self.replacer.forget();
    }

    /// Second pass: the replacements in a record, in order and without overlaps.
    pub fn changes(&mut self, record: &[u8]) -> Vec<Change> {
        let parts = parts::parts(record);
        let mut changes = self.name_changes(record, &parts);
        // A report contains paths in which names are already replaced.
        let renamed = (!changes.is_empty()).then(|| {
            let mut renamed = Vec::new();
            parts::spliced(record, &changes, &mut renamed);
            parts::parts(&renamed).into_iter().map(|part| part.field).collect::<Vec<_>>()
        });
        let mut pairs = parts::coordinate_pairs(&parts, |path| {
            self.rules.field(path).is_some_and(|treatment| treatment.action == Action::Coordinate)
        });
        let fields = beside::paths(&parts);
        for (at, (part, field)) in parts.iter().zip(fields).enumerate() {
            let treatment = field.and_then(|path| self.rules.field(&path));
            let path = renamed.as_ref().map_or(&part.field, |fields| &fields[at]).as_deref().unwrap_or(IN_TEXT);
            let mut change = |class: &'static str, place: Range<usize>, image: String, is_known: bool| {
                if part.text[place.clone()] != image {
                    changes.push(Change { is_known, ..part.change(path, class, place, &image) });
                }
            };
            if let Some((pair, axis)) = pairs.remove(&at) {
                if let Some(image) = self.coordinate(&part.text, &pair, axis) {
                    change(Action::Coordinate.class(), 0..part.text.len(), image, false);
                }
                continue;
            }
            let action = treatment.as_ref().map_or(Action::Text, |treatment| treatment.action);
            if !part.is_string {
                if let Some(image) = self.number(action, &part.text) {
                    change(action.class(), 0..part.text.len(), image, false);
                }
                continue;
            }
            let typed = treatment.filter(|treatment| !treatment.is_text());
            let mut images = typed.map_or_else(Vec::new, |typed| self.images(values::of_value(&part.text, &typed)));
            if images.is_empty() {
                let agent = action == Action::Agent;
                let spots = nested::of_text(&part.text, &mut self.rules, &mut self.kept, &self.known, agent, 0);
                images = self.images(spots);
            }
            for (class, place, image, is_known) in images {
                change(class, place, image, is_known);
            }
        }
        changes.sort_by_key(|change| change.place.start);
        changes
    }

    /// The replacements of names of members. A name is replaced as a whole, under the class of the first place in it.
    fn name_changes(&mut self, record: &[u8], parts: &[RecordPart]) -> Vec<Change> {
        let members = members::members(record, parts);
        let mut classes = Vec::with_capacity(members.len());
        let mut images = Vec::with_capacity(members.len());
        for member in &members {
            let text = member.name.text.as_ref();
            let known = self.known.action(&text.to_lowercase());
            let places = self.name_places(text, known);
            let mut image = String::new();
            let mut done = 0;
            for (place, treatment) in &places {
                image += &text[done..place.start];
                image += &self.image(treatment, &text[place.clone()]).unwrap_or(text[place.clone()].to_string());
                done = place.end;
            }
            image += &text[done..];
            classes.push(places.first().map(|(_, treatment)| treatment.action.class()));
            images.push((image != text).then_some(image));
        }
        let images = members::apart(&members, images);
        let changed = members.iter().zip(classes).zip(images);
        let change = |((member, class), image): ((&members::MemberName, Option<&'static str>), Option<String>)| {
            let name = &member.name;
            image.zip(class).map(|(image, class)| name.change(members::IN_NAMES, class, 0..name.text.len(), &image))
        };
        changed.filter_map(change).collect()
    }

    /// The places that are replaced in the name of a member, in order: identifiers with a fixed format, and known names
    /// unless they could also be the name of a field. `known` is the kind of the whole as a known name.
    fn name_places(&mut self, text: &str, known: Option<Action>) -> Vec<(Range<usize>, Treatment)> {
        if text.chars().all(|c| c.is_alphabetic() || c == '_') {
            let person = self.replacer.people.whose(&text.to_lowercase()).filter(|person| !person.is_common);
            let named = known == Some(Action::Name) && text.contains('_') || known.is_some() && person.is_some();
            return if named { vec![(0..text.len(), Treatment::of(Action::User))] } else { Vec::new() };
        }
        let mut taken = Taken::new();
        for Candidate { place, treatment, .. } in
            places::candidates(text, &mut self.rules, &mut self.kept, &self.known, false)
        {
            let domain = treatment.action == Action::Domain && known.is_none();
            if is_free(&taken, &place) && !domain {
                taken.insert(place.start, (place.end, treatment));
            }
        }
        taken.into_iter().map(|(start, (end, treatment))| (start..end, treatment)).collect()
    }

    /// The replacement of a value; of one that cannot be undone, its class is counted.
    fn image(&mut self, treatment: &Treatment, text: &str) -> Option<String> {
        let before = self.replacer.lost;
        let image = self.replacer.apply(treatment, text);
        self.count_lost(treatment.action, before);
        image
    }

    fn coordinate(&mut self, text: &str, pair: &str, axis: u8) -> Option<String> {
        let before = self.replacer.lost;
        let image = self.replacer.coordinate(text, pair, axis);
        self.count_lost(Action::Coordinate, before);
        image
    }

    fn count_lost(&mut self, action: Action, before: u64) {
        if self.replacer.lost > before {
            *self.left.entry(action.class()).or_default() += 1;
        }
    }

    /// The numbers of pseudonyms by class that could not be undone.
    pub fn left(&self) -> &BTreeMap<&'static str, u64> {
        &self.left
    }

    /// The replacement of a number in a field whose rule says that it is an identifier or a secret.
    fn number(&mut self, action: Action, text: &str) -> Option<String> {
        let number = text.starts_with(|c: char| c.is_ascii_digit());
        match action {
            Action::User | Action::Host | Action::Account | Action::Token if number => self.replacer.number(text),
            Action::Id if number && text.len() > 4 => self.replacer.number(text),
            Action::Phone | Action::Card if number => self.replacer.number(text),
            // A mark would change the type of the value, so a secret number becomes 0.
            Action::Redact if number => self.replacer.redacted_number(),
            _ => None,
        }
    }

    /// The replacements of spots: class, place and pseudonym, and whether the place is only a known name.
    fn images(&mut self, spots: Vec<Spot>) -> Vec<(&'static str, Range<usize>, String, bool)> {
        let mut taken = Taken::new();
        for spot in spots {
            let (place, is_known) = (spot.place().clone(), spot.is_known());
            if is_free(&taken, &place)
                && let Some((class, image)) = self.spot_image(spot)
            {
                taken.insert(place.start, (place.end, (class, image, is_known)));
            }
        }
        let place = |(start, (end, (class, image, is_known)))| (class, start..end, image, is_known);
        taken.into_iter().map(place).collect()
    }

    /// The class and the replacement of a spot; `None` if it is not of the kind of its rule, or nothing in it is replaced.
    fn spot_image(&mut self, spot: Spot) -> Option<(&'static str, String)> {
        let escaped = |image: String, quoted: usize| (0..quoted).fold(image, |image, _| parts::escaped(&image));
        match spot {
            Spot::Value { treatment, text, quoted, encoding, .. } => {
                let image = self.image(&treatment, &text)?;
                let image = encoding.map_or(image.clone(), |encoding| encoding.encode(&image));
                Some((treatment.action.class(), escaped(image, quoted)))
            }
            Spot::Encoded { text, spots, encoding, quoted, .. } => {
                let images = self.images(spots);
                let class = images.iter().find(|(_, place, image, _)| text[place.clone()] != **image)?.0;
                let mut out = text.clone();
                images.into_iter().rev().for_each(|(_, place, image, _)| out.replace_range(place, &image));
                Some((class, escaped(encoding.encode(&out), quoted)))
            }
        }
    }

    /// Second pass: writes the record with its replacements to `out`, which is cleared first, and counts them.
    pub fn rewrite(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let changes = self.changes(record);
        parts::spliced(record, &changes, out);
        changes.iter().for_each(|change| self.count(change));
        if let Some(census) = &mut self.census {
            census.add(record, &changes);
        }
        self.report.records += 1;
        self.report.changed_records += u64::from(!changes.is_empty());
    }

    fn count(&mut self, change: &Change) {
        let report = &mut self.report;
        *report.by_class.entry(change.class.into()).or_default() += 1;
        let listed = report.by_path.len() < LISTED_PATHS || report.by_path.contains_key(&change.path);
        let path = if listed { change.path.as_str() } else { OTHER };
        *report.by_path.entry(path.into()).or_default().entry(change.class.into()).or_default() += 1;
    }

    pub fn report(&self) -> PseudonymReport {
        PseudonymReport { distinct_names: self.replacer.words.len(), ..self.report.clone() }
    }
}

fn is_common_word(lower: &str, words: &Words, rules: &Rules) -> bool {
    rules.common_words.contains(lower) || words.keeps(lower)
}

/// Whether the name consists of common words, as the name of a service account may, so that it could also name a field.
fn is_common(person: &Person, words: &Words, rules: &Rules) -> bool {
    person.words().iter().all(|word| is_common_word(word, words, rules))
}

/// Places that are already taken: from the beginning of each to its end and further facts.
type Taken<T> = BTreeMap<usize, (usize, T)>;

fn is_free<T>(taken: &Taken<T>, place: &Range<usize>) -> bool {
    let before = taken.range(..place.end).next_back();
    !place.is_empty() && before.is_none_or(|(_, (end, _))| *end <= place.start)
}
