//! What `prepare --dry-run` would replace, for people.

use logwright::dataset::DryRun;
use logwright::pseudonyms::{PseudonymReport, SeenElsewhere};
use logwright::report::columns;

/// Words that are shown of each class.
const SHOWN: usize = 6;

/// The classes with their numbers and most frequent words, and the words that are also seen where no identity stands.
pub fn table(run: &DryRun) -> String {
    let PseudonymReport { records, changed_records, by_class, .. } = &run.replaced;
    let words = |class: &str| {
        let words = run.words.words.get(class).map_or(&[][..], Vec::as_slice);
        let more = if words.len() > SHOWN { ", ..." } else { "" };
        let shown: Vec<&str> = words.iter().take(SHOWN).map(|(word, _)| word.as_str()).collect();
        shown.join(", ") + more
    };
    let heads = ["class", "replaced", "most frequent"].map(String::from);
    let rows = by_class.iter().map(|(class, count)| [class.clone(), count.to_string(), words(class)]);
    let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let mut text = format!("Something is replaced in {changed_records} of {records} records.\n\n{}", columns(&rows));
    if !run.words.also_elsewhere.is_empty() {
        let heads = ["also seen where no identity stands", "class", "replaced there", "left there"].map(String::from);
        let cells = |seen: &SeenElsewhere| {
            let SeenElsewhere { word, class, replaced_elsewhere, left, .. } = seen;
            [word.clone(), class.to_string(), replaced_elsewhere.to_string(), left.to_string()]
        };
        let rows: Vec<_> = std::iter::once(heads).chain(run.words.also_elsewhere.iter().map(cells)).collect();
        text += &format!("\n{}", columns(&rows));
    }
    text
}
