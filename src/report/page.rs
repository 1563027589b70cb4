//! The report of a run as one HTML page: no scripts, no external resources, readable in light and dark mode.

use super::curve::{self, LossCurve};
use super::html::{document, escape, fact, plain};
use super::parse::{Summary, Verdict};
use crate::Result;
use crate::files::write_atomic;
use crate::record::Form;
use std::fmt::Write;
use std::path::Path;

/// One generated record and its verdict.
#[derive(Clone, Debug)]
pub struct JudgedRecord {
    /// Without its newline; any bytes.
    pub text: Vec<u8>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug)]
pub struct DemoReport {
    pub title: String,
    /// Headline numbers: (name, value with its unit).
    pub facts: Vec<(String, String)>,
    pub curve: LossCurve,
    pub form: Form,
    pub samples: Vec<JudgedRecord>,
    /// The resolved configuration, as TOML.
    pub config: String,
}

/// Writes the report to `path`, and replaces the file atomically.
///
/// # Errors
/// `Error::Failed` when the file cannot be written.
pub fn page(report: &DemoReport, path: &Path) -> Result<()> {
    write_atomic(path, html(report)?.as_bytes())
}

fn html(report: &DemoReport) -> Result<String> {
    let summary: Summary = report.samples.iter().map(|sample| &sample.verdict).collect();
    let facts: String = report.facts.iter().map(|(name, value)| fact(name, value)).collect();
    let samples: String = report.samples.iter().map(|sample| article(sample, report.form)).collect();
    let body = format!(
        "<dl class=\"facts\">\n{facts}</dl>\n<section>\n<h2>Loss</h2>\n<figure>\n{}</figure>\n</section>\n\
         <section>\n<h2>Generated records</h2>\n<p>{}</p>\n{samples}</section>\n\
         <section>\n<h2>Configuration</h2>\n<pre class=\"config\">{}</pre>\n</section>\n",
        curve::svg(&report.curve)?,
        count_text(&summary, report.form),
        escape(&report.config),
    );
    Ok(document(&report.title, &body))
}

fn count_text(summary: &Summary, form: Form) -> String {
    let Summary { records, complete, parsed } = summary;
    match form {
        Form::Text => format!("{complete} of the {records} records shown are complete."),
        _ => format!(
            "{complete} of the {records} records shown are complete, and {parsed} of these are valid JSON objects."
        ),
    }
}

fn article(sample: &JudgedRecord, form: Form) -> String {
    let (class, label, error_at) = match &sample.verdict {
        Verdict::Valid if form == Form::Text => ("valid", "complete".to_string(), None),
        Verdict::Valid => ("valid", "valid JSON".to_string(), None),
        Verdict::Broken { at, reason } => ("broken", format!("broken at byte {at}: {}", escape(reason)), Some(*at)),
        Verdict::Truncated => ("truncated", "truncated".to_string(), None),
    };
    let text = match form {
        Form::Text => plain(&sample.text),
        _ => highlight(&sample.text, error_at),
    };
    format!("<article class=\"{class}\">\n<p class=\"verdict\">{label}</p>\n<pre>{text}</pre>\n</article>\n")
}

/// `text` as HTML with JSON keys and string values coloured, and the byte at `error_at` marked (the end, if beyond it).
///
/// It works for broken JSON too: it only follows quotes, and a string is a key if a colon follows.
fn highlight(text: &[u8], error_at: Option<usize>) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let (end, class) = match text[at] {
            b'"' => {
                let end = string_end(text, at);
                let next = text[end..].iter().find(|b| !b.is_ascii_whitespace());
                (end, Some(if next == Some(&b':') { "key" } else { "text" }))
            }
            _ => (text[at..].iter().position(|&b| b == b'"').map_or(text.len(), |i| at + i), None),
        };
        span(&mut out, text, at..end, class, error_at);
        at = end;
    }
    if error_at.is_some_and(|e| e >= text.len()) {
        out.push_str("<mark class=\"end\">end</mark>");
    }
    out
}

/// Offset after the closing quote of the string that opens at `start`; the end of the text if it never closes.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// One coloured piece of the text, split in three where the error lies inside it.
fn span(out: &mut String, text: &[u8], range: std::ops::Range<usize>, class: Option<&str>, error_at: Option<usize>) {
    if let Some(class) = class {
        let _ = write!(out, "<span class=\"{class}\">");
    }
    match error_at.filter(|at| range.contains(at)) {
        None => out.push_str(&plain(&text[range])),
        Some(at) => {
            let end = (at + 1..range.end).find(|&i| !is_continuation(text[i])).unwrap_or(range.end);
            let [before, marked, after] = [range.start..at, at..end, end..range.end].map(|part| plain(&text[part]));
            let _ = write!(out, "{before}<mark>{marked}</mark>{after}");
        }
    }
    if class.is_some() {
        out.push_str("</span>");
    }
}

/// Whether a byte continues a UTF-8 character, which the mark must not split.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::verdict;

    fn report(form: Form, texts: &[&[u8]]) -> DemoReport {
        let sample = |text: &&[u8]| JudgedRecord { text: text.to_vec(), verdict: verdict(text, true, form) };
        DemoReport {
            title: "A <b>run</b>".into(),
            facts: vec![("validation loss".into(), "0.5 < 0.6".into())],
            curve: LossCurve { train: vec![(0, 3.0), (10, 1.0)], ..LossCurve::default() },
            form,
            samples: texts.iter().map(sample).collect(),
            config: "name = \"<x>\"".into(),
        }
    }

    #[test]
    fn nothing_generated_becomes_markup() {
        let hostile: &[u8] = b"{\"<script>\": \"</pre><script>alert('1')</script>\", &";
        for form in [Form::Json, Form::Text] {
            let page = html(&report(form, &[hostile])).expect("it renders");
            assert!(!page.contains("<script") && !page.contains("<b>run"), "{page}");
            assert!(page.contains("&lt;/pre&gt;&lt;script&gt;alert(&#39;1&#39;)"), "{page}");
            assert_eq!(page.matches("<pre").count(), page.matches("</pre>").count());
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&report(Form::Json, &[b"{}"])).expect("it renders");
        let links = page.replace("http://www.w3.org/2000/svg", "");
        for words in ["http:", "https:", "<link", "src=", "url("] {
            assert!(!links.contains(words), "{words}");
        }
    }

    #[test]
    fn keys_are_told_from_values_and_the_error_is_marked() {
        assert_eq!(
            highlight(br#"{"a": "b", x}"#, Some(11)),
            "{<span class=\"key\">&quot;a&quot;</span>: <span class=\"text\">&quot;b&quot;</span>, <mark>x</mark>}"
        );
        assert_eq!(highlight(br#"{"a"#, Some(3)), "{<span class=\"text\">&quot;a</span><mark class=\"end\">end</mark>");
        assert!(highlight("{\"é\"".as_bytes(), Some(2)).contains("<mark>é</mark>"));
        assert!(highlight(b"{\"a\\", Some(1)).contains("<mark>&quot;</mark>a\\"), "a backslash at the end");
    }

    #[test]
    fn the_counts_are_those_of_the_samples() {
        let page = html(&report(Form::Json, &[b"{}", b"{", b"{}"])).expect("it renders");
        assert!(page.contains("3 of the 3 records shown are complete, and 2 of these are valid"), "{page}");
        assert!(page.contains("broken at byte 1: it ends before its last bracket"), "{page}");
    }
}
