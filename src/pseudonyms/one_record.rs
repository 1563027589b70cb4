//! Records one at a time, with the pseudonyms of a corpus that was read before: for scoring and prompts.
//!
//! A record may have names that the corpus lacks. They are learnt from the record itself and forgotten after it, so that the
//! pseudonyms of a record depend on the key, on the corpus and on the record alone: not on what came before, and the same
//! after a restart. New names get pseudonyms that no name of the corpus has.

use super::key::SecretKey;
use super::parts::{self, Change};
use super::pseudonymizer::Pseudonymizer;
use super::sealed::SealedPseudonyms;
use crate::Result;
use std::ops::Range;

pub struct RecordPseudonyms(Pseudonymizer);

/// A record with its pseudonyms.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    pub record: Vec<u8>,
    /// What was replaced: places in the original record, in order.
    pub changes: Vec<Change>,
}

impl RecordPseudonyms {
    /// Errors: another key than that of the corpus.
    pub fn open(key: SecretKey, sealed: &SealedPseudonyms) -> Result<Self> {
        let mut all = Pseudonymizer::reopen(key, sealed)?;
        all.close();
        Ok(Self(all))
    }

    pub fn rewrite(&mut self, record: &[u8]) -> Rewritten {
        let all = &mut self.0;
        all.learn(record);
        all.finalize();
        let changes = all.changes(record);
        all.forget();
        let mut out = Vec::new();
        parts::spliced(record, &changes, &mut out);
        Rewritten { record: out, changes }
    }
}

impl Rewritten {
    /// The bytes of the original that a place in the rewritten record stands for: a pseudonym that the place reaches into
    /// stands for the whole original.
    pub fn original(&self, place: &Range<usize>) -> Range<usize> {
        // The change of the length of the record before the place, and the place in the original of each of its ends.
        let (mut shift, mut start, mut end) = (0isize, None, None);
        for change in &self.changes {
            let begin = moved(change.place.start, shift);
            let image = begin..begin + change.text.len();
            if start.is_none() && place.start < image.end {
                start = Some(if place.start < image.start { moved(place.start, -shift) } else { change.place.start });
            }
            if end.is_none() && place.end <= image.end {
                end = Some(if place.end <= image.start { moved(place.end, -shift) } else { change.place.end });
            }
            shift += change.text.len() as isize - change.place.len() as isize;
        }
        let start = start.unwrap_or_else(|| moved(place.start, -shift));
        start..end.unwrap_or_else(|| moved(place.end, -shift)).max(start)
    }
}

fn moved(at: usize, by: isize) -> usize {
    at.saturating_add_signed(by)
}

#[cfg(test)]
mod tests {
    use super::super::rules::Rules;
    use super::*;

    const RECORDS: [&str; 4] = [
        r#"{"identity":"Aaron Cole","userPrincipalName":"acole@corp.meridian.com","device":{"displayName":"x"},"ip":"10.1.2.3"}"#,
        r#"{"user_name":"zed77","host":"fin-0815.acme.local","m":"acole and ACOLE on fin-0815, Cole, Aaron"}"#,
        r#"{"User":"ACME\\zed77","accountId":"123837392027","latitude":17.5,"longitude":-115.3}"#,
        r"plain zed77 and AARON.COLE on FIN-0815 of ACME\zed77, 123837392027",
    ];

    fn corpus(key: &SecretKey) -> (Vec<String>, SealedPseudonyms) {
        let mut all = Pseudonymizer::new(key.clone(), Rules::load(None).unwrap());
        RECORDS.iter().for_each(|record| all.learn(record.as_bytes()));
        all.finalize();
        let mut image = |record: &&str| {
            let mut out = Vec::new();
            all.rewrite(record.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let images = RECORDS.iter().map(&mut image).collect();
        (images, all.seal(key))
    }

    fn text(rewritten: Rewritten) -> String {
        String::from_utf8(rewritten.record).unwrap()
    }

    #[test]
    fn the_records_of_the_corpus_come_out_the_same_in_any_order() {
        let key = SecretKey::new(&[9; 32]);
        let (images, sealed) = corpus(&key);
        let mut alone = RecordPseudonyms::open(key, &sealed).unwrap();
        for (record, image) in RECORDS.iter().zip(&images).rev() {
            assert_eq!(&text(alone.rewrite(record.as_bytes())), image);
        }
        assert!(RecordPseudonyms::open(SecretKey::new(&[8; 32]), &sealed).is_err());
    }

    #[test]
    fn a_new_record_knows_its_own_names_and_they_are_forgotten() {
        let key = SecretKey::new(&[9; 32]);
        let (_, sealed) = corpus(&key);
        let mut alone = RecordPseudonyms::open(key, &sealed).unwrap();
        let record = r#"{"identity":"Bella Quist","m":"BELLA QUIST asked acole, not b.quist"}"#;
        let first = text(alone.rewrite(record.as_bytes()));
        assert!(!first.to_lowercase().contains("quist") && !first.contains("acole"), "{first}");
        assert_eq!(text(alone.rewrite(b"b.quist asked nobody")), "b.quist asked nobody", "it is forgotten");
        alone.rewrite(br#"{"identity":"Zara Quist"}"#);
        assert_eq!(text(alone.rewrite(record.as_bytes())), first);
    }

    #[test]
    fn places_are_found_again_in_the_original() {
        let key = SecretKey::new(&[9; 32]);
        let (_, sealed) = corpus(&key);
        let mut alone = RecordPseudonyms::open(key, &sealed).unwrap();
        let record = "for acole from 10.1.2.3 port 22";
        let rewritten = alone.rewrite(record.as_bytes());
        let image = String::from_utf8(rewritten.record.clone()).unwrap();
        let (from, port) = (image.find("from ").unwrap(), image.find(" port").unwrap());
        let seen = |place: Range<usize>| &record[rewritten.original(&place)];
        assert_eq!(seen(0..4), "for ");
        assert_eq!(seen(4..from - 1), "acole");
        assert_eq!(seen(5..6), "acole", "a part stands for the whole");
        assert_eq!(seen(from..from + 5), "from ");
        assert_eq!(seen(from + 5..port), "10.1.2.3");
        assert_eq!(seen(port..image.len()), " port 22");
        assert_eq!(seen(0..image.len()), record);
        assert_eq!(seen(image.len()..image.len()), "");
    }
}
