//! What the records and the model give away of the training records.

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
            "Byte for byte. No more than among real ones is good.",
        ),
        pair(
            "Repeated records",
            &privacy.repeated,
            parts,
            "Records that the same sample has before. No more than among real ones is good.",
        ),
        pair(
            "Longest copied span",
            &spans(|s| s.longest),
            bytes,
            "The longest stretch that a training record has, too, without text that half of the records have. Shorter is better.",
        ),
        pair(
            "Copied span, 95 %",
            &spans(|s| s.percentile_95),
            bytes,
            "Of nineteen records in twenty the longest one is no longer.",
        ),
        pair("Copied span, median", &spans(|s| s.median), bytes, "The usual one: real records share stretches, too."),
        pair(
            "Random identifiers from training",
            &privacy.identifiers,
            parts,
            "Strings at paths whose values hardly ever repeat. A model that knows nothing by heart is at the real value.",
        ),
    ];
    let lead = format!(
        "What the records give away of the training records, beside what real ones that nobody copied have in common with them. \
         {} paths hold random values.",
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
        "Secrets that were planted in the training data. Exposure is how many bits of a secret the model gives away to whoever \
         can ask it for probabilities; about 1 means nothing, 10 is the most that this estimate can see.",
        &table(&["repeats", "bits of the secret", "exposure in bits"], canaries.iter().map(cells)),
    )
}
