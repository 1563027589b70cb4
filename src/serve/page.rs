//! The page at `/`: plain HTML, style and JavaScript, compiled in. It holds nothing of the model, so it needs no token.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page: path, type and text.
pub const FILES: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/generate.js", SCRIPT, include_str!("page/generate.js")),
    ("/live.js", SCRIPT, include_str!("page/live.js")),
    ("/metrics.js", SCRIPT, include_str!("page/metrics.js")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/pieces.js", SCRIPT, include_str!("page/pieces.js")),
    ("/records.js", SCRIPT, include_str!("page/records.js")),
    ("/score.js", SCRIPT, include_str!("page/score.js")),
];

pub fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> &'static str {
        FILES.iter().find(|(known, ..)| *known == path).unwrap_or_else(|| panic!("no file {path}")).2
    }

    /// What stands between `before` and the next `after`, everywhere.
    fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
    }

    fn scripts() -> impl Iterator<Item = &'static str> {
        FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT).map(|(.., text)| *text)
    }

    /// The content security policy would refuse these, silently for whoever does not look.
    #[test]
    fn nothing_is_inline_or_from_elsewhere_and_no_text_becomes_markup() {
        let page = named("/");
        for tag in between(page, "<", ">") {
            let attributes = tag.split_whitespace().skip(1).map(str::to_lowercase);
            let mut inline = attributes.filter(|name| name.starts_with("style=") || name.starts_with("on"));
            assert_eq!(inline.next(), None, "{tag}");
        }
        assert!(between(page, "<script", "</script>").all(|script| script.ends_with('>')), "a script has no text");
        let markup = "innerHTML outerHTML insertAdjacentHTML document.write eval( Function( DOMParser srcdoc";
        let elsewhere = "http: https: url( @import";
        for (path, _, text) in FILES {
            // The name of a vocabulary, which nobody asks for.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in markup.split(' ').chain(elsewhere.split(' ')) {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
    }

    #[test]
    fn every_file_and_element_that_a_script_names_is_there() {
        let page = named("/");
        for script in scripts() {
            for file in between(script, "from \"./", "\"") {
                assert_eq!(FILES.iter().filter(|(path, ..)| path[1..] == *file).count(), 1, "{file}");
            }
            for id in between(script, "byId(\"", "\"") {
                assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
            }
        }
        for file in between(page, "src=\"", "\"").chain(between(page, "rel=\"stylesheet\" href=\"", "\"")) {
            named(&format!("/{file}"));
        }
        for target in ["for", "aria-labelledby", "aria-describedby"] {
            for id in between(page, &format!(" {target}=\""), "\"").flat_map(str::split_whitespace) {
                assert!(page.contains(&format!("id=\"{id}\"")), "{target}={id}");
            }
        }
    }
}
