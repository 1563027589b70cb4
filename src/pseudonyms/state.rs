//! What a corpus taught, as bytes: the rules in use, keyed hashes of the names, and their pseudonyms. No name is in it.

use super::key::SecretKey;
use super::known::NameEntry;
use super::people::{Person, PersonImage};
use super::pseudonymizer::Pseudonymizer;
use super::rules::{Action, RuleText, Rules};
use super::sealed::SealedPseudonyms;
use crate::{Error, Result};

/// The kinds of names in the order of their numbers in the file.
const KINDS: [Action; 5] = [Action::Name, Action::User, Action::Host, Action::Domain, Action::Account];
/// The number of an entry that is no name.
const NO_KIND: u8 = u8::MAX;

impl Pseudonymizer {
    /// What this one has learnt and given, for `reopen`.
    pub fn seal(&self, key: &SecretKey) -> SealedPseudonyms {
        let mut out = Writer(Vec::new());
        self.write_rules(&mut out);
        self.write_known(&mut out);
        let (persons, forms) = self.replacer.people.entries();
        out.list(persons.iter(), |out, person| {
            out.text(&person.given);
            out.text(&person.last);
            person.lengths.iter().for_each(|length| out.byte(*length));
            out.byte(u8::from(person.is_common));
        });
        out.list(forms.into_iter(), |out, (hash, (person, form))| {
            out.number(hash);
            out.number((*person).into());
            out.byte(*form);
        });
        out.list(self.replacer.domains(), |out, hash| out.number(hash));
        let (originals, given) = self.replacer.words.entries();
        out.list(originals, |out, hash| out.number(hash));
        out.list(given, |out, (hash, pseudonym)| {
            out.number(hash);
            out.text(pseudonym);
        });
        SealedPseudonyms::seal(key, out.0)
    }

    /// One that goes on from a corpus: its names keep their pseudonyms, and are searched for in the records that follow. Its
    /// rules and the words that stay are taken over, unless others are given; built-in rules are those of this program.
    ///
    /// Errors: another key, or a file that was changed.
    pub fn continuing(key: SecretKey, sealed: &SealedPseudonyms, given: Option<Rules>) -> Result<Self> {
        let content = opened(&key, sealed)?;
        let mut reader = Reader(&content);
        let own = Rules::renewed(texts(&mut reader)?);
        let mut all = Self::new(key, given.map_or(own, Ok)?);
        all.restore(&mut reader).filter(|()| reader.0.is_empty()).ok_or_else(damaged)?;
        Ok(all)
    }

    /// The pseudonyms of a corpus again.
    ///
    /// Errors: another key, or a file that was changed.
    pub(super) fn reopen(key: SecretKey, sealed: &SealedPseudonyms) -> Result<Self> {
        let content = opened(&key, sealed)?;
        let mut reader = Reader(&content);
        let mut all = Self::new(key, rules(&mut reader)?);
        all.restore(&mut reader).filter(|()| reader.0.is_empty()).ok_or_else(damaged)?;
        Ok(all)
    }

    /// What this one has learnt of one part of a corpus, and not given pseudonyms yet, for `absorb`. It holds names.
    pub fn seal_learnt(&self, key: &SecretKey) -> SealedPseudonyms {
        let mut out = Writer(Vec::new());
        self.write_rules(&mut out);
        self.write_known(&mut out);
        let person = |out: &mut Writer, person: &Person| person.words().iter().for_each(|word| out.text(word));
        out.list(self.replacer.people.learnt(), person);
        out.list(self.replacer.people.linked().into_iter(), |out, (account, of, form)| {
            out.number(account);
            person(out, of);
            out.byte(form);
        });
        out.list(self.replacer.domains(), |out, hash| out.number(hash));
        out.list(self.namesakes.in_order().into_iter(), person);
        SealedPseudonyms::seal(key, out.0)
    }

    /// Takes in what another one has learnt of the next part of a corpus, so that this one knows what it would have learnt itself.
    /// False if that one had other rules or allowed words.
    ///
    /// Errors: another key, or a file that was changed.
    pub fn absorb(&mut self, key: &SecretKey, learnt: &SealedPseudonyms) -> Result<bool> {
        let content = opened(key, learnt)?;
        let mut reader = Reader(&content);
        let rules = texts(&mut reader)?;
        if !rules.iter().map(|rules| &rules.text).eq(self.rules.texts.iter().map(|rules| &rules.text)) {
            return Ok(false);
        }
        self.take_in(&mut reader).filter(|()| reader.0.is_empty()).ok_or_else(damaged)?;
        Ok(true)
    }

    fn take_in(&mut self, reader: &mut Reader) -> Option<()> {
        let person = |reader: &mut Reader| Some(Person::of_words(reader.text()?, reader.text()?));
        self.known.has_edges |= reader.byte()? > 0;
        reader.list(|reader| {
            let (hash, entry) = known_entry(reader)?;
            self.known.absorb(hash, entry);
            Some(())
        })?;
        reader.list(|reader| person(reader).map(|person| self.replacer.people.absorb(person)))?;
        reader.list(|reader| {
            let (account, of, form) = (reader.number()?, person(reader)?, reader.byte()?);
            self.replacer.people.absorb_linked(account, of, form).then_some(())
        })?;
        reader.list(|reader| reader.number().map(|hash| self.replacer.restore_domain(hash)))?;
        reader.list(|reader| person(reader).map(|pair| self.namesakes.insert(pair)))?;
        Some(())
    }

    fn write_rules(&self, out: &mut Writer) {
        out.list(self.rules.texts.iter(), |out, text| {
            out.text(&text.name);
            out.text(&text.text);
        });
    }

    fn write_known(&self, out: &mut Writer) {
        let kind = |action: &Option<Action>| {
            let number = action.and_then(|action| KINDS.iter().position(|kind| *kind == action));
            number.map_or(NO_KIND, |number| number as u8)
        };
        out.byte(u8::from(self.known.has_edges));
        out.list(self.known.entries().into_iter(), |out, (hash, entry)| {
            out.number(hash);
            out.byte(kind(&entry.action));
            out.byte(entry.words);
        });
    }

    fn restore(&mut self, reader: &mut Reader) -> Option<()> {
        self.known.has_edges = reader.byte()? > 0;
        reader.list(|reader| {
            let (hash, entry) = known_entry(reader)?;
            self.known.restore(hash, entry);
            Some(())
        })?;
        let persons = reader.list(|reader| {
            let (given, last) = (reader.text()?.into(), reader.text()?.into());
            let lengths = [reader.byte()?, reader.byte()?];
            Some(PersonImage { given, last, lengths, is_common: reader.byte()? > 0 })
        })?;
        let forms =
            reader.list(|reader| Some((reader.number()?, (u32::try_from(reader.number()?).ok()?, reader.byte()?))))?;
        self.replacer.people.restore(persons, forms).then_some(())?;
        reader.list(|reader| reader.number().map(|hash| self.replacer.restore_domain(hash)))?;
        reader.list(|reader| reader.number().map(|hash| self.replacer.words.avoid_hash(hash)))?;
        reader.list(|reader| {
            let (hash, pseudonym) = (reader.number()?, reader.text()?);
            self.replacer.words.restore(hash, &pseudonym);
            Some(())
        })?;
        Some(())
    }
}

impl SealedPseudonyms {
    /// The rules that the pseudonyms were made with.
    ///
    /// Errors: another key, or a file that was changed.
    pub fn rules(&self, key: &SecretKey) -> Result<Rules> {
        rules(&mut Reader(&opened(key, self)?))
    }
}

fn known_entry(reader: &mut Reader) -> Option<(u64, NameEntry)> {
    let (hash, kind, words) = (reader.number()?, reader.byte()?, reader.byte()?);
    let action = if kind == NO_KIND { None } else { Some(*KINDS.get(usize::from(kind))?) };
    Some((hash, NameEntry { action, words }))
}

fn opened(key: &SecretKey, sealed: &SealedPseudonyms) -> Result<Vec<u8>> {
    sealed.content(key).ok_or_else(|| {
        Error::usage(
            "--key-file: it is not the key that the pseudonyms were made with, or somebody has changed the sealed file; give \
             the key file of that prepare",
        )
    })
}

fn damaged() -> Error {
    Error::failed("the sealed pseudonyms have another form than this program writes; run prepare again")
}

fn rules(reader: &mut Reader) -> Result<Rules> {
    Rules::from_texts(texts(reader)?)
}

fn texts(reader: &mut Reader) -> Result<Vec<RuleText>> {
    let texts = reader.list(|reader| Some(RuleText { name: reader.text()?, text: reader.text()? }));
    texts.ok_or_else(damaged)
}

/// Numbers are little-endian; texts and lists begin with their length.
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        let place = self.0.len();
        self.number(0);
        let mut count = 0u64;
        for item in items {
            write(self, item);
            count += 1;
        }
        self.0[place..place + 8].copy_from_slice(&count.to_le_bytes());
    }
}

/// Reads what [`Writer`] writes; `None` where something is missing.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8).map(|bytes| u64::from_le_bytes(std::array::from_fn(|i| bytes[i])))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }
}
