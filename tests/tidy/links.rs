//! Links between the pages, from them to files, and the contents of the book.

use crate::root;
use std::fs;
use std::path::{Path, PathBuf};

/// Every page of this repository: those at its root, those of the book, and that of the emulator.
pub fn pages() -> Vec<PathBuf> {
    let folders = [root().to_path_buf(), root().join("docs"), root().join("kernels/emulator")];
    let listed = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut pages: Vec<PathBuf> = listed.filter(|file| file.extension().is_some_and(|kind| kind == "md")).collect();
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// The text without its fenced blocks, in which nothing is a link or a heading.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    };
    text.lines().filter(outside).fold(String::new(), |text, line| text + line + "\n")
}

/// The targets of the links and pictures of a page, without what stands between backticks.
fn targets(text: &str) -> Vec<String> {
    let prose: String = prose(text).split('`').step_by(2).collect();
    let inside = |rest: &str| rest.split(')').next().map(String::from);
    prose.split("](").skip(1).filter_map(inside).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> Vec<String> {
    let slug = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(text).lines().filter(|line| line.starts_with('#')).map(slug).collect()
}

/// What is wrong with a link of `page`.
fn fault(page: &Path, target: &str) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(path) };
    if !file.exists() {
        return Some(format!("{}: no such file: {target}", page.display()));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(&file).unwrap_or_default();
    let found = anchors(&text).iter().any(|found| found == anchor);
    (!found).then(|| format!("{}: {} has no heading #{anchor}", page.display(), file.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    let mut faults = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let found = targets(&text);
        count += found.len();
        faults.extend(found.iter().filter_map(|target| fault(&page, target)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(count > 50, "{count} links");
}

#[test]
fn faulty_links_are_seen() {
    let page = root().join("docs/start.md");
    for target in ["nowhere.md", "../README.md#nowhere", "#nowhere", "http://plain"] {
        assert!(fault(&page, target).is_some(), "{target}");
    }
    for target in ["../README.md#two-commands", "#install", "find-anomalies.md", "https://example.org"] {
        assert_eq!(fault(&page, target), None);
    }
    let text = "# A `b`: c_d, e?\n[x](one) `[y](two)` ![z](three)\n```sh\n# no [w](four)\n```\n";
    assert_eq!((targets(text), anchors(text)), (vec!["one".into(), "three".into()], vec!["a-b-c_d-e".to_string()]));
}

/// A page that the book does not list is not found by its readers.
#[test]
fn the_book_lists_every_page_of_docs() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = targets(&summary);
    for page in pages().into_iter().filter(|page| page.starts_with(root().join("docs"))) {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name == "SUMMARY.md" || listed.contains(&name), "docs/SUMMARY.md does not list {name}");
    }
}
