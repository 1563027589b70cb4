//! Privacy leakage: what the records and the model reveal of the training records.

use super::data::Exposed;
use super::numbers::{numbers, pair, parts};
use crate::fidelity::Pair;
use crate::fidelity::privacy::Privacy;
use crate::fidelity::spans::SpanLengths;
use crate::report::html::{cell, section, table};

pub(super) fn privacy_section(privacy: &Privacy) -> String {
    let bytes = |length: f64| format!("{length:.0} bytes");
    let spans = |which: fn(&SpanLengths) -> f64| Pair {
        generated: which(&privacy.copied_spans.generated),
        validation: which(&privacy.copied_spans.validation),
    };
    let rows = vec![
        pair(
            "Copies of training records",
            &privacy.duplicates,
            parts,
            "Byte for byte. There should be no more than among real records.",
        ),
        pair(
            "Repeated records",
            &privacy.repeated,
            parts,
            "Records that occur earlier in the same sample. There should be no more than among real records.",
        ),
        pair(
            "Longest copied span",
            &spans(|s| s.longest),
            bytes,
            "The longest piece that also occurs in a training record, without text that half of the records have. Shorter is better.",
        ),
        pair("Copied span, 95 %", &spans(|s| s.percentile_95), bytes, "Nineteen of twenty records have no longer one."),
        pair(
            "Copied span, median",
            &spans(|s| s.median),
            bytes,
            "Half of the records have no longer one: real records share text too.",
        ),
        pair(
            "Random identifiers from training",
            &privacy.identifiers,
            parts,
            "Strings at paths whose values hardly ever repeat. A model that memorises nothing is at the real value.",
        ),
    ];
    let lead = format!(
        "What the generated records have in common with the training records, next to what real records have that no model \
         copied. {} paths have random values.",
        privacy.random_paths.len()
    );
    section("Privacy", &lead, &numbers(rows))
}

pub(super) fn exposed(canaries: &[Exposed]) -> String {
    let number = |value: String| cell("number", &value);
    let cells = |canary: &Exposed| {
        let bits = |bits: f64| number(format!("{bits:.1}"));
        [number(canary.repeats.to_string()), bits(canary.bits), bits(canary.exposure)].concat()
    };
    section(
        "Canaries",
        "Secrets that were planted in the training data. Exposure is the number of bits of a secret that the model reveals to \
         whoever can query its probabilities; about 1 means nothing, 10 is the most that this estimate can measure.",
        &table(&["repeats", "bits of the secret", "exposure in bits"], canaries.iter().map(cells)),
    )
}
