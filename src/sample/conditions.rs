//! Conditions on generated records, set through the prefix that the model was trained with: a user, a label, a day.

use crate::record::{MOST_COMBINATIONS, PLACEHOLDER, Prefix, Records, Wanted, prefix_text, prefix_values};
use crate::{Error, Result};
use chrono::{Days, NaiveDate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The conditions on each record.
pub struct Conditions {
    prefixes: Vec<Prefix>,
    /// The wanted value of each prefix.
    wanted: Vec<Option<String>>,
    /// The prefix that holds the day, and the first and the last of the days to spread the records over.
    days: Option<(usize, NaiveDate, NaiveDate)>,
    combinations: Vec<(Vec<String>, u64)>,
    seed: u64,
}

impl Conditions {
    /// `values` are pairs of a prefix's name and the wanted value; `days` are the first and the last day.
    ///
    /// Prefixes without a condition take values that occurred with the wanted ones in training, in proportion to how often they
    /// did; or any combination in training, if the wanted values never occurred.
    ///
    /// Errors: a name that the model has no prefix for; days without a prefix of days.
    pub fn new(
        records: &Records,
        values: &[(String, String)],
        days: Option<(NaiveDate, NaiveDate)>,
        seed: u64,
    ) -> Result<Self> {
        let prefixes = records.prefixes.clone();
        let mut wanted = vec![None; prefixes.len()];
        for (name, value) in values {
            let place = prefixes.iter().position(|prefix| prefix.name() == name);
            let place = place.ok_or_else(|| no_prefix(&format!("--where {name}=..."), &prefixes))?;
            if value.contains(|c: char| c.is_control() || c == '{') {
                return Err(Error::usage(format!(
                    "--where {name}=...: no value contains a control character or an opening brace; remove it"
                )));
            }
            if wanted[place].replace(value.clone()).is_some() {
                return Err(Error::usage(format!("--where {name}=...: given twice, but a record has one value there")));
            }
        }
        let days = days.map(|(first, last)| match prefixes.iter().position(Prefix::is_date) {
            Some(place) if wanted[place].is_none() => Ok((place, first, last)),
            Some(place) => {
                Err(Error::usage(format!("--from and --where {}=... exclude each other", prefixes[place].name())))
            }
            None => Err(no_prefix("--from: no prefix of the model is a day (day=PATH,date)", &prefixes)),
        });
        let days = days.transpose()?;
        Ok(Conditions { prefixes, wanted, days, combinations: records.combinations.clone(), seed })
    }

    /// Whether there are no conditions.
    pub fn is_empty(&self) -> bool {
        self.days.is_none() && self.wanted.iter().all(Option::is_none)
    }

    /// The text that record `index` of `of` begins with.
    pub fn prompt(&self, index: usize, of: usize) -> String {
        if self.is_empty() {
            return String::new();
        }
        let wanted = self.wanted(index, of);
        let others = self.others(&wanted, index);
        let values: Vec<_> = wanted.into_iter().zip(others).map(|(wanted, other)| wanted.or(other)).collect();
        prefix_text(&values)
    }

    /// Whether record `index` of `of`, given without its prefix, meets the conditions.
    pub fn is_kept(&self, record: &[u8], index: usize, of: usize) -> bool {
        let found = prefix_values(&self.prefixes, record);
        let fits = |(wanted, found): (&Option<String>, &Option<String>)| {
            wanted.as_deref().is_none_or(|wanted| wanted == found.as_deref().unwrap_or(PLACEHOLDER))
        };
        self.wanted(index, of).iter().zip(&found).all(fits)
    }

    /// What a grammar can fix in the fields of record `index` of `of`.
    pub fn fixed(&self, index: usize, of: usize) -> Vec<Wanted> {
        let wanted = self.wanted(index, of);
        let given = self.prefixes.iter().zip(&wanted).filter_map(|(prefix, value)| Some((prefix, value.as_ref()?)));
        // The placeholder stands for a field that is missing or empty, which `is_kept` checks.
        given.filter(|(_, value)| *value != PLACEHOLDER).map(|(prefix, value)| Wanted::new(prefix, value)).collect()
    }

    fn wanted(&self, index: usize, of: usize) -> Vec<Option<String>> {
        let mut wanted = self.wanted.clone();
        if let Some((place, first, last)) = self.days {
            let days = (last - first).num_days() as u128 + 1;
            let day = index as u128 * days / of.max(1) as u128;
            wanted[place] = first.checked_add_days(Days::new(day as u64)).map(|day| day.to_string());
        }
        wanted
    }

    /// A combination from training for the prefixes without a condition.
    fn others(&self, wanted: &[Option<String>], index: usize) -> Vec<Option<String>> {
        let fits = |values: &[String]| {
            values.iter().zip(wanted).all(|(value, wanted)| wanted.as_ref().is_none_or(|wanted| wanted == value))
        };
        let mut candidates: Vec<_> = self.combinations.iter().filter(|(values, _)| fits(values)).collect();
        if candidates.is_empty() {
            candidates = self.combinations.iter().collect();
        }
        let total: u64 = candidates.iter().map(|(_, count)| count).sum();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Records sample from the streams that begin at 0, so these begin at the other end.
        rng.set_stream(u64::MAX - index as u64);
        let mut left = if total == 0 { 0 } else { rng.next_u64() % total };
        let drawn = candidates.iter().find(|(_, count)| {
            let here = left < *count;
            left = left.saturating_sub(*count);
            here
        });
        drawn.map_or(vec![None; self.prefixes.len()], |(values, _)| values.iter().cloned().map(Some).collect())
    }

    /// Warns of wanted values that no training record had. The warning has the values, so it is for who gave them.
    pub fn warn_of_the_unseen(&self) {
        for (place, wanted) in self.wanted.iter().enumerate() {
            let Some(wanted) = wanted else { continue };
            if !self.combinations.iter().any(|(values, _)| values[place] == *wanted) {
                let kept = if self.combinations.len() < MOST_COMBINATIONS { "" } else { " that records.json has kept" };
                tracing::warn!(
                    "--where {}={wanted}: not among the values seen in training{kept}",
                    self.prefixes[place].name()
                );
            }
        }
    }
}

fn no_prefix(what: &str, prefixes: &[Prefix]) -> Error {
    let names: Vec<_> = prefixes.iter().map(Prefix::name).collect();
    let has = match names.is_empty() {
        true => "the model was trained without prefixes".to_string(),
        false => format!("the model has the prefixes {}", names.join(", ")),
    };
    Error::usage(format!("{what}: {has}; a prefix comes from `prepare --prefix-field NAME=PATH` before training"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Form;

    fn records() -> Records {
        let prefixes = ["user=u", "day=t,date"].map(|text| text.parse().unwrap()).into();
        let combination = |user: &str, day: &str, count| (vec![user.to_string(), day.to_string()], count);
        let combinations = vec![
            combination("al", "2022-01-01", 9),
            combination("bo", "2022-01-02", 1),
            combination("bo", "2022-01-03", 2),
        ];
        Records { form: Form::PrefixedJson, prefixes, combinations, ..Records::unknown() }
    }

    fn asked(values: &[(&str, &str)], days: Option<(&str, &str)>) -> Result<Conditions> {
        let values: Vec<_> = values.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let days = days.map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()));
        Conditions::new(&records(), &values, days, 1)
    }

    #[test]
    fn what_is_not_asked_for_comes_from_beside_what_is() {
        let conditions = asked(&[("user", "bo")], None).unwrap();
        let prompts: Vec<_> = (0..300).map(|i| conditions.prompt(i, 300)).collect();
        let third = prompts.iter().filter(|prompt| *prompt == "bo 2022-01-03 ").count();
        assert_eq!(third + prompts.iter().filter(|prompt| *prompt == "bo 2022-01-02 ").count(), 300);
        // 200 are expected; four standard deviations are 33.
        assert!(third.abs_diff(200) < 33, "{third}");
        assert_eq!(prompts[7], conditions.prompt(7, 300));
        assert!(asked(&[("user", "new")], None).unwrap().prompt(0, 1).starts_with("new 2022-01-0"));
        let day = asked(&[], Some(("2022-01-03", "2022-01-03"))).unwrap();
        assert!((0..20).all(|i| day.prompt(i, 20) == "bo 2022-01-03 "), "bo alone was seen that day");
    }

    #[test]
    fn days_spread_evenly_over_the_records() {
        let conditions = asked(&[("user", "al")], Some(("2022-02-27", "2022-03-01"))).unwrap();
        let days: Vec<_> = (0..6).map(|i| conditions.prompt(i, 6)).collect();
        let expected = ["al 2022-02-27 ", "al 2022-02-28 ", "al 2022-03-01 "];
        assert_eq!(days, [0, 0, 1, 1, 2, 2].map(|i| expected[i]));
        assert!(conditions.is_kept(br#"{"u":"al","t":"2022-02-28T01:02"}"#, 2, 6));
        assert!(!conditions.is_kept(br#"{"u":"al","t":"2022-02-28T01:02"}"#, 0, 6));
        assert!(!conditions.is_kept(br#"{"u":"bo","t":"2022-02-28T01:02"}"#, 2, 6));
        assert!(!conditions.is_kept(b"broken", 2, 6));
        assert!(asked(&[("user", "-")], None).unwrap().is_kept(br#"{"t":"2022-02-28T01:02"}"#, 0, 1), "asked for none");
    }

    #[test]
    fn nothing_asked_leaves_the_beginning_to_the_model() {
        assert_eq!(asked(&[], None).unwrap().prompt(0, 1), "");
        assert!(asked(&[], None).unwrap().is_kept(b"anything", 0, 1));
    }

    #[test]
    fn what_the_model_cannot_be_asked_is_refused() {
        let message = |conditions: Result<Conditions>| conditions.err().unwrap().to_string();
        let text = message(asked(&[("colour", "red")], None));
        assert!(
            text.contains("--where colour=") && text.contains("user, day") && text.contains("--prefix-field"),
            "{text}"
        );
        assert!(message(asked(&[("user", "a"), ("user", "b")], None)).contains("twice"));
        for value in ["a\nb", "a {b"] {
            assert!(message(asked(&[("user", value)], None)).contains("--where user="), "{value:?}");
        }
        assert!(message(asked(&[("day", "2022-01-01")], Some(("2022-01-01", "2022-01-01")))).contains("exclude"));
        let none = Conditions::new(&Records::unknown(), &[], Some((NaiveDate::MIN, NaiveDate::MIN)), 1);
        assert!(message(none).contains("without prefixes"));
    }
}
