//! The evaluation on a terminal: the numbers that say most.

use super::data::{Evaluation, Exposed};
use super::numbers::{NumberRow, percent, three};
use super::page::headline_rows;
use crate::detect::Detection;
use crate::report::columns;

/// The evaluation as tables of text.
pub fn glance(evaluation: &Evaluation) -> String {
    let language = &evaluation.language;
    let mut rows = vec![["", "generated", "real, held out"].map(String::from)];
    rows.push(["Loss, nats per token".into(), String::new(), three(language.loss)]);
    let row = |NumberRow { name, generated, baseline, .. }: NumberRow| [name.to_string(), generated, baseline];
    rows.extend(headline_rows(evaluation).into_iter().map(row));
    let mut text = columns(&rows);
    if let Some(canaries) = &evaluation.canaries {
        text += &exposed(canaries);
    }
    if let Some(detected) = &evaluation.detection {
        text += &detection("", &detected.methods, |row| row.method.clone());
        if !detected.kinds.is_empty() {
            text += &detection("attack", &detected.kinds, |row| row.kind.clone().unwrap_or_default());
        }
    }
    text
}

fn detection(what: &str, rows: &[Detection], name: impl Fn(&Detection) -> String) -> String {
    let ratio = |value: Option<f64>| value.map_or("-".to_string(), three);
    let cells = |row: &Detection| {
        let found = &row.calibrated;
        [name(row), ratio(row.auroc), ratio(found.recall), ratio(found.precision), ratio(found.f1)]
    };
    let heads = [what, "AUROC", "recall", "precision", "F1"].map(String::from);
    let all: Vec<_> = std::iter::once(heads).chain(rows.iter().map(cells)).collect();
    let asked = rows.first().map_or(0.0, |row| row.asked_rate);
    format!("\nAt the threshold for {} of false positives:\n{}", percent(asked), columns(&all))
}

fn exposed(canaries: &[Exposed]) -> String {
    let cells = |one: &Exposed| [one.repeats.to_string(), format!("{:.1}", one.exposure), format!("{:.1}", one.bits)];
    let heads = ["planted", "bits revealed", "of"].map(String::from);
    let all: Vec<_> = std::iter::once(heads).chain(canaries.iter().map(cells)).collect();
    format!("\nPlanted secrets that the model knows:\n{}", columns(&all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::evaluate;
    use crate::report::evaluation::{Detected, LanguageModel};

    #[test]
    fn every_part_has_its_lines() {
        let found = evaluate(&[0.1, 0.2, 0.9], &[false, false, true], &[0.1, 0.2, 0.3], 0.01).unwrap();
        let kind = Detection { kind: Some("password spray".into()), ..found.clone() };
        let methods = vec![Detection { method: "model alone".into(), ..found }];
        let detection = Some(Detected {
            methods,
            kinds: vec![kind],
            by: Vec::new(),
            drift: None,
            scores: Vec::new(),
            attacks: Vec::new(),
        });
        let language = LanguageModel::new(10.0, 4, 5, 20);
        let canaries = Some(vec![Exposed { repeats: 16, bits: 40.0, exposure: 9.5 }]);
        let text =
            glance(&Evaluation { language, generated: None, privacy: None, canaries, detection, title: String::new() });
        for part in
            ["Loss, nats per token", "2.500", "model alone", "password spray  1.000", "1.0 % of false", "16       9.5"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
