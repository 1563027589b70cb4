//! The report of the demo as one HTML page: no scripts, no external resources, readable in light and dark mode.

use super::curve::{self, LossCurve};
use super::explain::{self, articles, how_to_read};
use super::html::{escape, fact, folded, styled_document};
use super::judged::{JudgedRecord, article, highlight};
use super::parse::Summary;
use crate::Result;
use crate::files::write_atomic;
use crate::finding::Finding;
use crate::record::Form;
use crate::words::counted;
use std::collections::BTreeSet;
use std::path::Path;

/// Unusual records, and pairs of a real and a generated record, that are shown.
const SHOWN: usize = 5;
const PAIRS: usize = 3;

#[derive(Clone, Debug)]
pub struct DemoReport {
    pub title: String,
    /// Headline numbers: (name, value with its unit).
    pub facts: Vec<(String, String)>,
    pub curve: LossCurve,
    /// What of the later records is unusual.
    pub detected: Detected,
    /// Real records, to stand beside generated ones.
    pub real: Vec<Vec<u8>>,
    pub samples: Vec<JudgedRecord>,
    /// The resolved configuration, as TOML.
    pub config: String,
}

/// Scored records whose attacks are known.
#[derive(Clone, Debug)]
pub struct Detected {
    /// The false-positive rate that was asked for.
    pub rate: f64,
    pub records: Vec<Attacked>,
}

/// A scored record and the attack that it belongs to.
#[derive(Clone, Debug)]
pub struct Attacked {
    pub attack: Option<&'static str>,
    pub episode: Option<u64>,
    pub finding: Finding,
}

/// What was found of attacks, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    pub attack_records: usize,
    pub attack_records_found: usize,
    pub attacks: usize,
    pub attacks_found: usize,
    pub normal_records: usize,
    pub false_alarms: usize,
}

impl Attacked {
    fn is_found(&self) -> bool {
        self.finding.anomaly == Some(true)
    }
}

impl Detected {
    pub fn counts(&self) -> Counts {
        let of = |is_attack: bool| self.records.iter().filter(move |one| one.attack.is_some() == is_attack);
        let found = |is_attack: bool| of(is_attack).filter(|one| one.is_found());
        let episodes = |some: &mut dyn Iterator<Item = &Attacked>| {
            some.filter_map(|one| one.episode).collect::<BTreeSet<u64>>().len()
        };
        Counts {
            attack_records: of(true).count(),
            attack_records_found: found(true).count(),
            attacks: episodes(&mut of(true)),
            attacks_found: episodes(&mut found(true)),
            normal_records: of(false).count(),
            false_alarms: found(false).count(),
        }
    }

    /// The most unusual records, the highest score first.
    pub fn most_unusual(&self) -> Vec<&Attacked> {
        let mut all: Vec<&Attacked> = self.records.iter().collect();
        all.sort_by(|a, b| b.finding.score.total_cmp(&a.finding.score));
        all
    }

    /// What was looked at, and what was found.
    pub fn sentences(&self) -> [String; 2] {
        let Counts { attack_records, attack_records_found, attacks, attacks_found, normal_records, false_alarms } =
            self.counts();
        let records = counted(self.records.len() as u64, "later record");
        let asked = 100.0 * self.rate;
        let looked = match attack_records {
            0 => format!("The model scored {records}, none of which belongs to an attack."),
            _ => format!(
                "The model, which learnt from normal records alone, scored {records}, of which {attack_records} belong to {}.",
                counted(attacks as u64, "attack")
            ),
        };
        let missed = match attack_records {
            0 => String::new(),
            _ => format!("{attacks_found} of {attacks} attacks ({attack_records_found} of their records), and "),
        };
        let found = format!(
            "At an asked false-positive rate of {asked} % it called anomalous: {missed}{false_alarms} of {normal_records} normal \
             records ({:.1} %).",
            100.0 * false_alarms as f64 / normal_records.max(1) as f64
        );
        [looked, found]
    }
}

/// What the generated records are like.
pub fn quality(samples: &[JudgedRecord]) -> String {
    let Summary { records, complete, parsed } = samples.iter().map(|sample| &sample.verdict).collect();
    format!(
        "Of {}, {complete} are complete, and {parsed} of these are valid JSON objects.",
        counted(records, "generated record")
    )
}

/// Writes the report to `path`, and replaces the file atomically.
///
/// # Errors
/// `Error::Failed` when the file cannot be written.
pub fn page(report: &DemoReport, path: &Path) -> Result<()> {
    write_atomic(path, html(report)?.as_bytes())
}

fn html(report: &DemoReport) -> Result<String> {
    let [looked, found] = report.detected.sentences();
    let mut shown = BTreeSet::new();
    let is_first = |one: &&Attacked| one.episode.is_none_or(|episode| shown.insert(episode));
    let unusual: Vec<&Attacked> = report.detected.most_unusual().into_iter().filter(is_first).take(SHOWN).collect();
    let names: Vec<String> = unusual.iter().map(|one| known(one)).collect();
    let threshold = unusual.first().and_then(|one| one.finding.threshold);
    let shown = unusual.iter().zip(&names).map(|(one, name)| (&one.finding, Some(name.as_str())));
    let facts: String = report.facts.iter().map(|(name, value)| fact(name, value)).collect();
    let samples: String = report.samples.iter().map(|sample| article(sample, Form::Json)).collect();
    let body = format!(
        "<section>\n<h2>The most unusual records, one of each attack</h2>\n<p>{}</p>\n<p>{}</p>\n{}{}</section>\n\
         <section>\n<h2>Real and generated records</h2>\n<p>Left a real record, right one that the model made up.</p>\n{}</section>\n\
         <section>\n<h2>Quality</h2>\n<p>{}</p>\n<dl class=\"facts\">\n{facts}</dl>\n<figure>\n{}</figure>\n</section>\n\
         <section>\n<h2>Everything else</h2>\n{}{}</section>\n",
        escape(&looked),
        escape(&found),
        how_to_read(),
        articles(shown, threshold),
        pairs(report),
        escape(&quality(&report.samples)),
        curve::svg(&report.curve)?,
        folded("All generated records", &samples),
        folded("Configuration", &format!("<pre class=\"config\">{}</pre>\n", escape(&report.config))),
    );
    Ok(styled_document(&report.title, explain::STYLE, &body))
}

/// What the labels say of a record.
fn known(one: &Attacked) -> String {
    match one.attack {
        Some(attack) => format!("part of an attack: {}", attack.replace('_', " ")),
        None => "a normal record".to_string(),
    }
}

fn pairs(report: &DemoReport) -> String {
    let one = |text: &[u8]| format!("<article class=\"plain\">\n<pre>{}</pre>\n</article>\n", highlight(text, None));
    let pair = |(real, made): (&Vec<u8>, &JudgedRecord)| {
        format!("<div class=\"pair\">\n{}{}</div>\n", one(real), one(&made.text))
    };
    report.real.iter().zip(&report.samples).take(PAIRS).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Attached, MaxToken, Origin};
    use crate::report::verdict;

    fn scored(record: u64, score: f64, attack: Option<&'static str>) -> Attacked {
        let finding = Finding {
            record,
            source: None,
            origin: Origin::default(),
            score,
            p_value: None,
            threshold: Some(4.0),
            anomaly: Some(score > 4.0),
            evidence: None,
            known: None,
            nats_per_char: 0.0,
            nats_per_token: 0.0,
            max_token: MaxToken { text: String::new(), nats: 0.0, at: 0 },
            fields: Vec::new(),
            tokens: Vec::new(),
            attached: Attached::default(),
            drift: None,
        };
        Attacked { attack, episode: attack.map(|_| record % 10), finding }
    }

    fn report(texts: &[&[u8]]) -> DemoReport {
        let form = Form::Json;
        let sample = |text: &&[u8]| JudgedRecord { text: text.to_vec(), verdict: verdict(text, true, form) };
        let spray = Some("password_spray");
        let records = vec![
            scored(1, 1.0, None),
            scored(2, 9.0, spray),
            scored(12, 3.0, spray),
            scored(3, 3.5, spray),
            scored(4, 5.0, None),
        ];
        DemoReport {
            title: "A <b>run</b>".into(),
            facts: vec![("validation loss".into(), "0.5 < 0.6".into())],
            curve: LossCurve { train: vec![(0, 3.0), (10, 1.0)], ..LossCurve::default() },
            detected: Detected { rate: 0.01, records },
            real: vec![b"{\"a\":\"<real>\"}".to_vec()],
            samples: texts.iter().map(sample).collect(),
            config: "name = \"<x>\"".into(),
        }
    }

    #[test]
    fn nothing_generated_becomes_markup_and_the_page_loads_nothing() {
        let hostile: &[u8] = b"{\"<script>\": \"</pre><script>alert('1')</script>\", &";
        let page = html(&report(&[hostile])).expect("it renders");
        assert!(!page.contains("<script") && !page.contains("<b>run") && !page.contains("<real>"), "{page}");
        assert!(page.contains("&lt;/pre&gt;&lt;script&gt;alert(&#39;1&#39;)"), "{page}");
        assert_eq!(page.matches("<pre").count(), page.matches("</pre>").count());
        let links = page.replace("http://www.w3.org/2000/svg", "");
        for words in ["http:", "https:", "<link", "src=", "url("] {
            assert!(!links.contains(words), "{words}");
        }
    }

    #[test]
    fn sentences_say_what_was_found_and_what_was_not() {
        let found = report(&[b"{}", b"{", b"{}"]);
        let counts = Counts {
            attack_records: 3,
            attack_records_found: 1,
            attacks: 2,
            attacks_found: 1,
            normal_records: 2,
            false_alarms: 1,
        };
        assert_eq!(found.detected.counts(), counts);
        let [looked, told] = found.detected.sentences();
        assert!(looked.ends_with("scored 5 later records, of which 3 belong to 2 attacks."), "{looked}");
        let expected =
            "of 1 % it called anomalous: 1 of 2 attacks (1 of their records), and 1 of 2 normal records (50.0 %).";
        assert!(told.ends_with(expected), "{told}");
        let order: Vec<u64> = found.detected.most_unusual().iter().map(|one| one.finding.record).collect();
        assert_eq!(order, [2, 4, 3, 12, 1]);
        let page = html(&found).expect("it renders");
        assert!(page.contains("record 4: score") && !page.contains("record 12: score"), "of the attack of record 2");
        assert!(
            page.contains("record 2: score 9.00, threshold 4.00, anomaly; part of an attack: password spray"),
            "{page}"
        );
        assert!(
            page.contains("Of 3 generated records, 3 are complete, and 2 of these are valid JSON objects."),
            "{page}"
        );
        assert!(page.contains("broken at byte 1: it ends before its last bracket"), "{page}");
        let quiet = Detected { rate: 0.01, records: vec![scored(1, 1.0, None)] };
        assert!(quiet.sentences()[0].ends_with("scored 1 later record, none of which belongs to an attack."));
    }
}
