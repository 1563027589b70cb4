//! The evaluation as one HTML page. Every number has a baseline next to it and a sentence that says what it means.

use super::data::{Evaluation, GeneratedQuality, LanguageModel};
use super::labelled::detectors;
use super::numbers::{NumberRow, numbers, pair, parts, three};
use super::plots::{self, MOST_FIELDS};
use super::privacy::{exposed, privacy_section};
use super::rules::{keys, rules};
use crate::fidelity::conformity::{Conformity, Fault};
use crate::fidelity::distance::{Coverage, FieldDistance};
use crate::fidelity::language::Cost;
use crate::fidelity::text::Likeness;
use crate::fidelity::tfidf::Histogram;
use crate::fidelity::{CheckedRule, Fidelity, Pair, Share, Structure};
use crate::files::{create_folders, write_atomic};
use crate::report::html::{cell, code, document, folded, section, table};
use crate::words::counted;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// The files of the report, in its folder.
pub const REPORT_FILES: [&str; 2] = ["evaluation.json", "evaluation.html"];

/// Writes `evaluation.json` and `evaluation.html` into a folder, which is created where it is missing.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write_report(evaluation: &Evaluation, folder: &Path) -> Result<()> {
    create_folders(folder)?;
    let json = serde_json::to_string_pretty(evaluation).map_err(Error::failed)? + "\n";
    write_atomic(&folder.join(REPORT_FILES[0]), json.as_bytes())?;
    write_atomic(&folder.join(REPORT_FILES[1]), html(evaluation)?.as_bytes())
}

/// To add a part, write a function that returns a [`section`], and call it at its place in the list below.
pub(super) fn html(evaluation: &Evaluation) -> Result<String> {
    let mut body = headline(evaluation);
    body += &language(&evaluation.language);
    if let Some(detected) = &evaluation.detection {
        body += &detectors(detected)?;
    }
    if let Some(fidelity) = evaluation.generated.as_ref().and_then(|generated| generated.fidelity.as_ref()) {
        if let Some(structure) = &fidelity.structure {
            body += &fields(structure)?;
            body += &rules(&structure.rules);
            body += &keys(&structure.keys);
            body += &schema(structure);
        }
        body += &texts(fidelity)?;
    }
    if let Some(privacy) = &evaluation.privacy {
        body += &privacy_section(privacy);
    }
    if let Some(canaries) = &evaluation.canaries {
        body += &exposed(canaries);
    }
    Ok(document(&evaluation.title, &body))
}

fn headline(evaluation: &Evaluation) -> String {
    let rows = headline_rows(evaluation);
    section("At a glance", "Each number next to that of real records that the model has not seen.", &numbers(rows))
}

/// The numbers that say most.
pub(super) fn headline_rows(evaluation: &Evaluation) -> Vec<NumberRow> {
    let mut rows = vec![NumberRow {
        name: "Bits per byte",
        generated: String::new(),
        baseline: three(evaluation.language.bits_per_byte),
        meaning: "What the model needs to encode a byte of real text. Lower is better; random values set a floor.",
    }];
    if let Some(generated) = &evaluation.generated {
        rows.extend(parse_rows(generated));
        if let Some(structure) = generated.fidelity.as_ref().and_then(|fidelity| fidelity.structure.as_ref()) {
            rows.extend(structure_rows(structure));
        }
    }
    if let Some(privacy) = &evaluation.privacy {
        rows.push(pair(
            "Copies of training records",
            &privacy.duplicates,
            parts,
            "Records that occur in training byte for byte. There should be no more of them than among real records.",
        ));
        rows.push(pair(
            "Random identifiers from training",
            &privacy.identifiers,
            parts,
            "Identifiers, tokens and times that also occur in training. Lower is better; the real side shows what is chance.",
        ));
    }
    rows
}

fn parse_rows(generated: &GeneratedQuality) -> Vec<NumberRow> {
    let truncated =
        generated.truncated.map_or("not recorded in the file".to_string(), |n| format!("{n} of {}", generated.records));
    vec![
        NumberRow {
            name: "Parse rate",
            generated: parts(Share::new(generated.parsed, generated.complete)),
            baseline: String::new(),
            meaning: "Complete records that are valid for their form. Higher is better.",
        },
        NumberRow {
            name: "Truncated",
            generated: truncated,
            baseline: String::new(),
            meaning: "Truncated at the token limit; excluded from the other rows. Lower is better.",
        },
    ]
}

fn structure_rows(structure: &Structure) -> Vec<NumberRow> {
    let outside = structure.fields.iter().filter(|field| field.outside).count();
    let kept = |side: fn(&CheckedRule) -> (u64, u64)| {
        let (kept, of) = structure.rules.iter().map(side).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Share::new(kept, of)
    };
    let kept = Pair {
        generated: kept(|rule| (rule.kept.generated.kept, rule.kept.generated.records)),
        validation: kept(|rule| (rule.kept.validation.kept, rule.kept.validation.records)),
    };
    let conforming =
        Pair { generated: structure.schema.generated.conforming, validation: structure.schema.validation.conforming };
    vec![
        pair(
            "Records that conform to the schema",
            &conforming,
            parts,
            "No unknown path, type, value or pattern, no misplaced key. Higher is better; real records are below 100 % where they \
             contain something new.",
        ),
        NumberRow {
            name: "Fields beyond chance",
            generated: format!("{outside} of {}", structure.fields.len()),
            baseline: String::new(),
            meaning: "Fields that are farther from real ones than two real samples are from each other. One in forty is chance; lower is better.",
        },
        pair(
            "Consistency rules followed",
            &kept,
            parts,
            "Checks of rules that training records follow, such as an address and its network. Higher is better.",
        ),
    ]
}

fn language(model: &LanguageModel) -> String {
    let row = |name: &str, value: String, meaning: &str| {
        [cell("", name), cell("number", &value), cell("note", meaning)].concat()
    };
    let mut rows = vec![
        row("Loss, nats per token", three(model.loss), "Mean of -ln p over the tokens. Lower is better."),
        row("Loss, bits per token", three(model.bits_per_token), "The same in bits."),
        row(
            "Perplexity",
            three(model.perplexity),
            "The number of equally likely tokens with the same loss. Lower is better.",
        ),
        row("Nats per byte", three(model.nats_per_byte), "Comparable across tokenizers. Lower is better."),
        row("Bits per byte", three(model.bits_per_byte), "The same in bits; an eighth of it is the compression ratio."),
        row("Tokens", model.tokens.to_string(), "Tokens that were predicted."),
    ];
    if let Some(by_path) = &model.by_path {
        let of = |cost: Cost| format!("{:.3} over {} bytes", cost.nats_per_byte, cost.bytes);
        rows.push(row("Nats per byte, random values", of(by_path.random), "Cannot fall below their entropy."));
        rows.push(row(
            "Nats per byte, everything else",
            of(by_path.rest),
            "This is where models differ. Lower is better.",
        ));
    }
    section("Language model", "Loss on held-out real text.", &table(&["", "", "what it means"], rows))
}

fn fields(structure: &Structure) -> Result<String> {
    if structure.fields.is_empty() {
        return Ok(section("Fields", "There are no records to compare: none parses.", ""));
    }
    let varying: Vec<&FieldDistance> = structure.fields.iter().filter(|field| !field.is_constant()).collect();
    let distance = |value: f64| cell("number", &three(value));
    let row = |field: &&FieldDistance| {
        let band = format!("{:.3} to {:.3}", field.band_low.total_variation, field.band_high.total_variation);
        [
            code(&field.path),
            cell("", field.kind),
            cell(if field.outside { "number off" } else { "number" }, &three(field.generated.total_variation)),
            cell("number", &band),
            distance(field.training.total_variation),
            distance(field.generated.jensen_shannon),
            distance(field.band_high.jensen_shannon),
        ]
        .concat()
    };
    let heads = ["path", "kind", "total variation", "95 % band", "training", "Jensen-Shannon", "band to"];
    let coverage = |of: fn(&Coverage) -> (u64, u64, f64)| {
        let show = |side: &Coverage| {
            let (covered, all, expected) = of(side);
            format!("{covered} of {all} (chance: {expected:.1})")
        };
        (show(&structure.coverage.generated), show(&structure.coverage.validation))
    };
    let (all, rare) =
        (coverage(|c| (c.covered, c.values, c.expected)), coverage(|c| (c.rare_covered, c.rare, c.rare_expected)));
    let rows = vec![
        NumberRow {
            name: "Categories covered",
            generated: all.0,
            baseline: all.1,
            meaning: "Recurring training values that occur. About as many as chance would give in as many records is good; \
                      far fewer means that diversity was lost.",
        },
        NumberRow {
            name: "Rare values covered",
            generated: rare.0,
            baseline: rare.1,
            meaning: "The same for values in at most 1 % of the training records.",
        },
    ];
    let lead = format!(
        "How far the values of a field are from those of the held-out records. The bar is the difference between two samples of \
         real records (95 % of the time), the line marks the training records, the dot the generated ones: within the bar \
         they cannot be distinguished from real ones, farther right is worse. The {} farthest fields are drawn; {} more have \
         the same value everywhere, and fields of random values are left out.",
        varying.len().min(MOST_FIELDS),
        structure.fields.len() - varying.len()
    );
    let picture = format!("<figure>\n{}</figure>\n", plots::fields(&varying)?);
    let (beyond, within): (Vec<&FieldDistance>, Vec<&FieldDistance>) = varying.iter().partition(|field| field.outside);
    let mut tables = String::new();
    if !beyond.is_empty() {
        tables += &table(&heads, beyond.iter().map(row));
    }
    if !within.is_empty() {
        let summary = format!("{} within the band of chance", counted(within.len() as u64, "field"));
        tables += &folded(&summary, &table(&heads, within.iter().map(row)));
    }
    Ok(section("Fields", &lead, &(picture + &numbers(rows) + &tables)))
}

fn schema(structure: &Structure) -> String {
    let sides = &structure.schema;
    let name = |fault: &Fault| {
        serde_json::to_value(fault)
            .ok()
            .and_then(|name| name.as_str().map(|name| name.replace('_', " ")))
            .unwrap_or_default()
    };
    let faults: BTreeSet<_> = sides.generated.faults.keys().chain(sides.validation.faults.keys()).collect();
    let count = |side: &Conformity, fault| cell("number", &side.faults.get(fault).copied().unwrap_or(0).to_string());
    let kinds = faults.into_iter().map(|fault| {
        [cell("", &name(fault)), count(&sides.generated, fault), count(&sides.validation, fault)].concat()
    });
    let examples = sides.generated.paths.iter().map(|path| {
        [code(&path.path), cell("", &name(&path.fault)), cell("number", &path.records.to_string()), code(&path.example)]
            .concat()
    });
    let body = table(&["records with a fault", "generated", "real, held out"], kinds)
        + &table(&["path", "fault", "records", "for example"], examples);
    let lead = "What no training record does. Fewer is better; held-out records also violate the profile where they have \
                values that training does not have.";
    section(
        "Schema",
        lead,
        if sides.generated.faults.is_empty() && sides.validation.faults.is_empty() { "" } else { &body },
    )
}

fn texts(fidelity: &Fidelity) -> Result<String> {
    let of = |which: fn(&Likeness) -> f64| Pair {
        generated: which(&fidelity.likeness.generated),
        validation: which(&fidelity.likeness.validation),
    };
    let near = &fidelity.similarity;
    let nearest = |which: fn(&Histogram) -> f64| Pair {
        generated: which(&near.generated_nearest_training),
        validation: which(&near.validation_nearest_training),
    };
    let rows = vec![
        pair(
            "ROUGE-1",
            &of(|l| l.rouge_1),
            three,
            "Words shared with the most similar training record. Near the real value is good.",
        ),
        pair(
            "BLEU-4",
            &of(|l| l.bleu_4),
            three,
            "Four-word sequences that occur in training. Near the real value is good.",
        ),
        pair(
            "self-BLEU",
            &of(|l| l.self_bleu),
            three,
            "The same among the records themselves. Above the real value means too little diversity.",
        ),
        NumberRow {
            name: "TF-IDF, all pairs",
            generated: three(near.generated_and_validation.mean),
            baseline: three(near.training_and_validation.mean),
            meaning: "Mean similarity to held-out records; the baseline is that of training records. Near it is good.",
        },
        pair(
            "TF-IDF, nearest, median",
            &nearest(|h| h.median),
            three,
            "Similarity to the most similar training record. Near the real value is good.",
        ),
        pair("TF-IDF, nearest, largest", &nearest(|h| h.largest), three, "1 is a copy, except for order and spaces."),
    ];
    let close = plots::histograms(
        &near.generated_nearest_training,
        &near.validation_nearest_training,
        "TF-IDF cosine with the most similar training record",
    )?;
    let all = plots::histograms(
        &near.generated_and_validation,
        &near.training_and_validation,
        "TF-IDF cosine of all pairs (generated, or training, with held-out records)",
    )?;
    let lead = "Whole records compared as texts. The shapes should overlap: farther right means copying, farther left \
                means unlike anything real.";
    Ok(section(
        "Texts",
        lead,
        &format!("<figure>\n{close}</figure>\n<p></p>\n<figure>\n{all}</figure>\n{}", numbers(rows)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::groups::divide;
    use crate::detect::{Detection, by_kind, evaluate};
    use crate::fidelity::measure;
    use crate::report::evaluation::data::{Detected, Exposed};
    use crate::report::parse::Summary;

    fn evaluation(generated: &[&[u8]]) -> Evaluation {
        let record = |i: usize| format!(r#"{{"id":"{:016x}","kind":"k{}","n":{i}}}"#, i * 7919, i % 3).into_bytes();
        let training: Vec<Vec<u8>> = (0..60).map(record).collect();
        let validation: Vec<Vec<u8>> = (60..80).map(record).collect();
        let generated: Vec<Vec<u8>> = generated.iter().map(|record| record.to_vec()).collect();
        let stream = |sink: &mut dyn FnMut(&[u8])| {
            training.iter().for_each(|record| sink(record));
            Ok(())
        };
        let (fidelity, privacy) = measure(&stream, &validation, &generated, 100, 1).unwrap();
        let records = generated.len() as u64;
        let summary = Summary { records: records + 1, complete: records, parsed: records };
        Evaluation {
            language: LanguageModel::new(10.0, 10, 10, 20),
            generated: Some(GeneratedQuality::new(&summary, true, Some(fidelity))),
            privacy: Some(privacy),
            canaries: Some(vec![Exposed { repeats: 4, bits: 40.0, exposure: 9.5 }]),
            detection: Some(detected()),
            title: "An <b>evaluation</b>".into(),
        }
    }

    fn detected() -> Detected {
        let (scores, attacks, normal) = ([0.5, 3.0, 1.0], vec![false, true, false], [0.1, 0.9]);
        let own = Detection { method: "model".into(), ..evaluate(&scores, &attacks, &normal, 0.5).unwrap() };
        let kinds = by_kind(&scores, &[None, Some("<b>spray".into()), None], &normal, 0.5).unwrap();
        let values = ["<b>ann", "bob", "bob"].map(|user| Some(user.to_string()));
        let by = vec![divide("user<b>", &values, &[false, true, true], &attacks)];
        Detected { methods: vec![own], kinds, by, drift: None, scores: vec![scores.to_vec()], attacks }
    }

    #[test]
    fn nothing_generated_becomes_markup_and_nothing_is_loaded() {
        let hostile = br#"{"<script>":"</td><script>alert(1)</script>","kind":"<b>&"}"#;
        let page = html(&evaluation(&[hostile])).unwrap();
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        let links = page.replace("http://www.w3.org/2000/svg", "");
        for words in ["http:", "https:", "<link", "src=", "url("] {
            assert!(!links.contains(words), "{words}");
        }
        for tag in ["table", "td", "tr", "section", "figure", "svg", "p"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn each_part_has_its_place() {
        let page = html(&evaluation(&[br#"{"id":"0000000000001eef","kind":"k1","n":1}"#, b"broken"])).unwrap();
        for words in [
            "At a glance",
            "Language model",
            "Fields",
            "Consistency rules",
            "Schema",
            "Texts",
            "Privacy",
            "Detection",
            "Canaries",
        ] {
            assert!(page.contains(&format!("<h2>{words}</h2>")), "{words}");
        }
        assert!(page.contains("not json") && page.contains("1 of 3"), "a broken record, and one cut off of three");
        let bare =
            Evaluation { generated: None, privacy: None, detection: None, canaries: None, ..evaluation(&[b"{}"]) };
        assert!(!html(&bare).unwrap().contains("<h2>Fields"));
    }

    #[test]
    fn records_of_which_none_parses_make_a_page() {
        let page = html(&evaluation(&[b"", b"x"])).unwrap();
        assert!(page.contains("none parses") && !page.contains("NaN"), "{page}");
    }
}
