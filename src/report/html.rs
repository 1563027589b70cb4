//! The HTML that every page consists of: the document, escaping, sections, tables.

pub(super) const STYLE: &str = include_str!("page.css");

/// A whole page around `body`. The body is HTML, the title is plain text.
pub(super) fn document(title: &str, body: &str) -> String {
    styled_document(title, "", body)
}

/// As [`document`], with more styles.
pub(super) fn styled_document(title: &str, style: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n<header><h1>{title}</h1></header>\n{body}</main>\n</body>\n\
         </html>\n"
    )
}

/// A headline number: a name and a value with its unit.
pub(super) fn fact(name: &str, value: &str) -> String {
    format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value))
}

/// A section with a heading. `body` is HTML, heading and lead are plain text.
pub(super) fn section(title: &str, lead: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n<p>{}</p>\n{body}</section>\n", escape(title), escape(lead))
}

/// A part that is shown when its summary (plain text) is clicked. `body` is HTML.
pub(super) fn folded(summary: &str, body: &str) -> String {
    format!("<details>\n<summary>{}</summary>\n{body}</details>\n", escape(summary))
}

/// A table; the cells are HTML, from `<td` to `</td>`.
pub(super) fn table(heads: &[&str], rows: impl IntoIterator<Item = String>) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escape(head))).collect();
    let rows: String = rows.into_iter().map(|cells| format!("<tr>{cells}</tr>\n")).collect();
    format!("<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n")
}

/// A cell with a class of the style sheet.
pub(super) fn cell(class: &str, text: &str) -> String {
    format!("<td class=\"{class}\">{}</td>", escape(text))
}

/// A cell of monospaced text, every byte visible.
pub(super) fn code(text: &str) -> String {
    format!("<td><code>{}</code></td>", plain(text.as_bytes()))
}

/// Bytes as HTML text, with every byte visible.
pub(super) fn plain(text: &[u8]) -> String {
    escape(&visible(text))
}

/// Bytes as visible text: invalid UTF-8 becomes U+FFFD, control characters their pictures (U+2400 and up).
pub fn visible(text: &[u8]) -> String {
    let visible = |c: char| match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(c),
        '\x7f' => '\u{2421}',
        // Characters that control terminals or change the writing direction.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    String::from_utf8_lossy(text).chars().map(visible).collect()
}

/// Safe as HTML text and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_lost_or_shown_raw() {
        assert_eq!(plain(b"a\0\x1f\x7f\xff<"), "a\u{2400}\u{241f}\u{2421}\u{fffd}&lt;");
    }
}
