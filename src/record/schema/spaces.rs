//! The white space of records.

use crate::record::json_tree::Gap;
use std::collections::BTreeMap;

const GAPS: usize = Gap::ALL.len();

/// The most different pieces of white space that are kept for each gap.
const MOST: usize = 8;

/// The white space at each kind of gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spaces {
    gaps: [Whites; GAPS],
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Whites {
    /// The number of gaps without white space.
    empty: u64,
    /// The pieces and how often they were seen, for the first [`MOST`].
    seen: Vec<(String, u64)>,
    longest: usize,
    is_cut: bool,
}

impl Spaces {
    pub fn add(&mut self, gap: Gap, white: &str) {
        let known = &mut self.gaps[gap as usize];
        // Most gaps are always empty, and there are several for each member.
        if white.is_empty() {
            known.empty += 1;
            return;
        }
        known.longest = known.longest.max(white.len());
        if let Some((_, count)) = known.seen.iter_mut().find(|(text, _)| text == white) {
            *count += 1;
        } else if known.seen.len() < MOST {
            known.seen.push((white.to_string(), 1));
        } else {
            known.is_cut = true;
        }
    }

    /// Whether most of the gaps are one space.
    pub fn is_mostly_a_space(&self, gap: Gap) -> bool {
        let Whites { empty, seen, .. } = &self.gaps[gap as usize];
        let count = |is_space: bool| -> u64 {
            seen.iter().filter(|(text, _)| (text == " ") == is_space).map(|(_, count)| count).sum()
        };
        count(true) > count(false) + empty
    }

    /// Regular expressions for the gaps that are not always empty.
    pub fn written(&self) -> BTreeMap<Gap, String> {
        let all = Gap::ALL.into_iter().zip(&self.gaps).filter(|(_, known)| known.longest > 0);
        all.map(|(gap, known)| (gap, known.written())).collect()
    }
}

impl Whites {
    fn written(&self) -> String {
        if self.is_cut {
            return format!(r"[ \t\r\n]{{0,{}}}", self.longest);
        }
        let escaped = |text: &String| text.replace('\t', r"\t").replace('\r', r"\r").replace('\n', r"\n");
        let texts: Vec<String> = self.seen.iter().map(|(text, _)| escaped(text)).collect();
        format!("({}{})", texts.join("|"), if self.empty > 0 { "|" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_that_of_most_records_and_of_all() {
        let mut spaces = Spaces::default();
        for white in [" ", "", " ", "\t"] {
            spaces.add(Gap::BehindComma, white);
        }
        spaces.add(Gap::Close, "");
        assert!(!spaces.is_mostly_a_space(Gap::BehindComma), "half of them");
        spaces.add(Gap::BehindComma, " ");
        assert!(spaces.is_mostly_a_space(Gap::BehindComma) && !spaces.is_mostly_a_space(Gap::BehindColon));
        assert_eq!(spaces.written(), BTreeMap::from([(Gap::BehindComma, r"( |\t|)".to_string())]));
        (0..20).for_each(|length| spaces.add(Gap::Open, &" ".repeat(length)));
        assert_eq!(spaces.written()[&Gap::Open], r"[ \t\r\n]{0,19}");
    }
}
