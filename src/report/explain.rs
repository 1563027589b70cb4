//! Shows a person why a record is unusual: its tokens coloured by surprisal, on a terminal and as an HTML page.

use super::html::{self, escape, fact};
use crate::Result;
use crate::files::write_atomic;
use crate::finding::{Finding, FoundField, Shaded, whole_characters};
use std::fmt::Write;
use std::path::Path;

/// What a page of explanations shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Name of the model.
    pub model: String,
    /// How a record became one score.
    pub aggregate: String,
    pub threshold: Option<f64>,
    /// Number of all scored records, shown or not.
    pub records: u64,
    pub anomalies: u64,
    /// In the order to show them.
    pub findings: Vec<Finding>,
}

pub(super) const STYLE: &str = include_str!("explain.css");

/// Lower bounds in nats of the shades from 1 on. A choice among e^n equally likely things has n nats.
const SHADES: [f64; 5] = [1.0, 2.0, 4.0, 6.0, 9.0];

/// Shade of a surprisal: 0 (none) to 5.
fn shade(nats: f64) -> usize {
    SHADES.iter().filter(|&&bound| nats >= bound).count()
}

/// The meaning of each shade, from 0 on.
fn meanings() -> impl Iterator<Item = String> {
    let least = std::iter::once(format!("under {} nat", SHADES[0]));
    let most = format!("{} or more", SHADES[SHADES.len() - 1]);
    least.chain(SHADES.windows(2).map(|pair| format!("{} to {}", pair[0], pair[1]))).chain([most])
}

/// Writes the page to `path`, and replaces the file atomically.
///
/// # Errors
/// `Error::Failed` when the file cannot be written.
pub fn write_page(explanation: &Explanation, path: &Path) -> Result<()> {
    write_atomic(path, whole_page(explanation).as_bytes())
}

fn whole_page(explanation: &Explanation) -> String {
    let Explanation { model, aggregate, threshold, records, anomalies, findings } = explanation;
    let threshold_text = threshold.map_or("none".to_string(), |threshold| format!("{threshold:.2}"));
    let facts = [
        ("records scored", records.to_string()),
        ("anomalies", if threshold.is_some() { anomalies.to_string() } else { "no threshold".to_string() }),
        ("shown", findings.len().to_string()),
        ("threshold", threshold_text),
        ("score", aggregate.clone()),
        ("model", model.clone()),
    ];
    let facts: String = facts.iter().map(|(name, value)| fact(name, value)).collect();
    let articles = articles(findings.iter().map(|finding| (finding, None)), *threshold);
    let body = format!(
        "<dl class=\"facts\">\n{facts}</dl>\n<section>\n<h2>How to read this</h2>\n{}</section>\n\
         <section>\n<h2>Records, the highest score first</h2>\n{articles}</section>\n",
        how_to_read()
    );
    html::styled_document("Unusual records", STYLE, &body)
}

/// What shades, lines and bars of records mean.
pub(super) fn how_to_read() -> String {
    let legend: String =
        meanings().enumerate().map(|(shade, text)| format!("<span class=\"s{shade}\">{text}</span>")).collect();
    format!(
        "<p>Each piece of a record is shaded by its surprisal in nats: how unlikely the model, which learnt from earlier logs, \
         found it after everything before it. The values of the fields that are listed below a record are underlined. The \
         bar shows the record's score, the tick on it the threshold.</p>\n<p class=\"legend\">{legend}</p>\n"
    )
}

/// Records, each with what else is known of it.
pub(super) fn articles<'a>(
    findings: impl Iterator<Item = (&'a Finding, Option<&'a str>)> + Clone,
    threshold: Option<f64>,
) -> String {
    let highest = findings.clone().map(|(finding, _)| finding.score).chain(threshold).fold(0.0, f64::max);
    findings.map(|(finding, known)| article(finding, highest, known)).collect()
}

/// One record: its verdict and what else is `known` of it, its score and the threshold on a bar up to `highest`, its text, its
/// most unusual fields.
fn article(finding: &Finding, highest: f64, known: Option<&str>) -> String {
    let class = match finding.anomaly {
        Some(true) => "anomaly",
        Some(false) => "valid",
        None => "plain",
    };
    let percent = |value: f64| if highest > 0.0 { (100.0 * value / highest).clamp(0.0, 100.0) } else { 0.0 };
    let tick = finding.threshold.map_or(String::new(), |at| format!("<b style=\"left:{:.1}%\"></b>", percent(at)));
    format!(
        "<article class=\"{class}\">\n<p class=\"verdict\">{}{}</p>\n\
         <div class=\"bar\"><i style=\"width:{:.1}%\"></i>{tick}</div>\n<pre>{}</pre>\n{}</article>\n",
        html::plain(headline(finding).as_bytes()),
        known.map_or(String::new(), |known| format!("; {}", escape(known))),
        percent(finding.score),
        shaded(&finding.tokens),
        table(&finding.fields),
    )
}

/// `record 7 of auth.log: score 12.10, threshold 8.30, anomaly`.
fn headline(finding: &Finding) -> String {
    let source = finding.source.as_ref().map_or(String::new(), |source| format!(" of {source}"));
    let threshold = finding.threshold.map_or(String::new(), |threshold| format!(", threshold {threshold:.2}"));
    let verdict = if finding.anomaly == Some(true) { ", anomaly" } else { "" };
    format!("record {}{source}: score {:.2}{threshold}{verdict}", finding.record, finding.score)
}

/// The tokens as HTML, each with its nats where it is shaded.
fn shaded(tokens: &[Shaded]) -> String {
    let mut out = String::new();
    for Shaded { text, nats, found } in shown(tokens) {
        let found = if found { " found" } else { "" };
        let _ = match shade(nats) {
            0 if found.is_empty() => write!(out, "{}", html::plain(&text)),
            shade => {
                write!(out, "<span class=\"s{shade}{found}\" title=\"{nats:.2} nats\">{}</span>", html::plain(&text))
            }
        };
    }
    out
}

/// Whole characters, without the separator at the end.
fn shown(tokens: &[Shaded]) -> Vec<Shaded> {
    match tokens.split_last() {
        Some((last, before)) if last.text == b"\n" => whole_characters(before),
        _ => whole_characters(tokens),
    }
}

fn table(fields: &[FoundField]) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let calibrated = fields.iter().any(|field| field.evidence.is_some());
    let more =
        if calibrated { "<th class=\"number\">expected nats</th><th class=\"number\">evidence</th>" } else { "" };
    let number =
        |value: Option<f64>| value.map_or(String::new(), |value| format!("<td class=\"number\">{value:.2}</td>"));
    let row = |field: &FoundField| {
        format!(
            "<tr><td>{}</td><td class=\"value\">{}{}</td><td class=\"number\">{:.2}</td>{}{}</tr>\n",
            escape(&field.path),
            html::plain(field.value.as_bytes()),
            field.reason.as_ref().map_or(String::new(), |reason| format!("<br><small>{}</small>", escape(reason))),
            field.nats,
            number(field.expected),
            number(field.evidence),
        )
    };
    let rows: String = fields.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<tr><th>field</th><th>found</th><th class=\"number\">nats</th>{more}</tr>\n\
         {rows}</table></div>\n"
    )
}

/// Background and foreground of the shades from 1 on, among the terminal's 256 colours; readable on light and dark.
const COLOURS: [(u8, u8); 5] = [(230, 16), (222, 16), (215, 16), (202, 16), (160, 231)];

/// The legend of [`terminal`].
pub fn legend(colour: bool) -> String {
    if !colour {
        return format!("Tokens of {} nats or more are in [[ ]].\n\n", SHADES[PLAIN_SHADE - 1]);
    }
    let shades: Vec<_> =
        meanings().enumerate().map(|(shade, text)| painted(&format!(" {text} "), shade, false)).collect();
    format!("Surprisal in nats: {}; the values of the most unusual fields are underlined.\n\n", shades.join(" "))
}

/// Without colour, this shade and those above it are marked.
const PLAIN_SHADE: usize = 4;

/// A finding for a terminal: a headline, the record with its tokens coloured (256-colour escapes), the most unusual fields.
/// Control characters of the record and of the name of its file are shown as pictures, because a log must not control the
/// terminal.
pub fn terminal(finding: &Finding, colour: bool) -> String {
    let mut out = html::visible(headline(finding).as_bytes());
    if colour && finding.anomaly == Some(true) {
        out = format!("\x1b[1;31m{out}\x1b[0m");
    }
    out.push('\n');
    for Shaded { text, nats, found } in shown(&finding.tokens) {
        let text = html::visible(&text);
        match colour {
            true => out.push_str(&painted(&text, shade(nats), found)),
            false if shade(nats) >= PLAIN_SHADE => out.push_str(&format!("[[{text}]]")),
            false => out.push_str(&text),
        }
    }
    out.push('\n');
    for field in &finding.fields {
        let usual = match (field.expected, field.evidence) {
            (Some(expected), Some(evidence)) => format!(", expected {expected:.2}, evidence {evidence:.2}"),
            _ => String::new(),
        };
        let (path, value) = (html::visible(field.path.as_bytes()), html::visible(field.value.as_bytes()));
        let reason =
            field.reason.as_ref().map_or(String::new(), |reason| format!("; {}", html::visible(reason.as_bytes())));
        let _ = writeln!(out, "  {path} = {value}  ({:.2} nats{usual}{reason})", field.nats);
    }
    out.push('\n');
    out
}

fn painted(text: &str, shade: usize, found: bool) -> String {
    let underline = if found { "\x1b[4m" } else { "" };
    match (shade, underline) {
        (0, "") => text.to_string(),
        (0, _) => format!("{underline}{text}\x1b[0m"),
        _ => {
            let (back, fore) = COLOURS[shade - 1];
            format!("{underline}\x1b[48;5;{back};38;5;{fore}m{text}\x1b[0m")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Attached, MaxToken, Origin};

    fn token(text: &[u8], nats: f64, found: bool) -> Shaded {
        Shaded { text: text.to_vec(), nats, found }
    }

    fn finding() -> Finding {
        Finding {
            record: 7,
            source: Some("<auth>.log".into()),
            origin: Origin::default(),
            score: 12.0,
            p_value: Some(0.001),
            evidence: None,
            threshold: Some(8.0),
            anomaly: Some(true),
            known: None,
            nats_per_char: 1.0,
            nats_per_token: 2.0,
            max_token: MaxToken { text: "x".into(), nats: 12.0, at: 3 },
            fields: vec![FoundField {
                path: "a<b".into(),
                value: "<script>\x1b[2J".into(),
                nats: 12.0,
                expected: Some(0.5),
                evidence: Some(7.25),
                reason: Some("never seen here".into()),
            }],
            attached: Attached::default(),
            drift: None,
            tokens: vec![
                token(b"{\"a<b\":\"", 0.2, false),
                token(b"<script>", 12.0, true),
                token(b"\x1b[2J", 6.5, false),
                token(b"\xc3", 1.5, false),
                token(b"\xa9", 1.0, false),
                token(b"\"}", 0.0, false),
                token(b"\n", 0.1, false),
            ],
        }
    }

    fn explanation() -> Explanation {
        let (model, aggregate) = ("run & co".to_string(), "evidence".to_string());
        Explanation { model, aggregate, threshold: Some(8.0), records: 9, anomalies: 1, findings: vec![finding()] }
    }

    #[test]
    fn shades_are_by_nats() {
        let shades = [0.0, 0.99, 1.0, 1.99, 2.0, 3.9, 4.0, 6.0, 8.9, 9.0, 99.0].map(shade);
        assert_eq!(shades, [0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5]);
        let meanings: Vec<_> = meanings().collect();
        assert_eq!(meanings, ["under 1 nat", "1 to 2", "2 to 4", "4 to 6", "6 to 9", "9 or more"]);
    }

    #[test]
    fn the_page_shows_tokens_fields_and_the_threshold() {
        let page = whole_page(&explanation());
        for part in [
            "<span class=\"s5 found\" title=\"12.00 nats\">&lt;script&gt;</span>",
            "<span class=\"s4\" title=\"6.50 nats\">\u{241b}[2J</span>",
            "<span class=\"s2\" title=\"2.50 nats\">é</span>&quot;}</pre>",
            "<i style=\"width:100.0%\"></i><b style=\"left:66.7%\"></b>",
            "record 7 of &lt;auth&gt;.log: score 12.00, threshold 8.00, anomaly",
            "<td>a&lt;b</td><td class=\"value\">&lt;script&gt;\u{241b}[2J<br><small>never seen here</small></td><td class=\"number\">12.00</td>\
             <td class=\"number\">0.50</td><td class=\"number\">7.25</td>",
            "run &amp; co",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        for part in ["<script", "http:", "https:", "src=", "url(", "\x1b"] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_terminal_shows_colours_and_is_not_steered() {
        let text = terminal(&finding(), true);
        assert!(text.contains("\x1b[4m\x1b[48;5;160;38;5;231m<script>\x1b[0m"), "{text:?}");
        assert!(text.contains("\x1b[48;5;222;38;5;16mé\x1b[0m\"}\n"), "{text:?}");
        assert!(!text.contains("\x1b[2J"));
        let plain = terminal(&finding(), false);
        assert!(plain.contains("{\"a<b\":\"[[<script>]][[\u{241b}[2J]]é\"}\n"), "{plain}");
        assert!(
            plain.contains("a<b = <script>\u{241b}[2J  (12.00 nats, expected 0.50, evidence 7.25; never seen here)"),
            "{plain}"
        );
        assert!(!plain.contains('\x1b'));
    }

    #[test]
    fn bytes_that_are_no_character_stay_apart() {
        let tokens = [token(b"\xff", 1.0, false), token(b"a", 2.0, false), token(b"\xc3", 1.0, false)];
        let joined: Vec<_> = shown(&tokens).into_iter().map(|token| (token.text, token.nats)).collect();
        assert_eq!(joined, [(b"\xff".to_vec(), 1.0), (b"a".to_vec(), 2.0), (b"\xc3".to_vec(), 1.0)]);
    }
}
