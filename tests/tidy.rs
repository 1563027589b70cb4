//! House rules that a reader relies on: short files, short functions, nothing left lying about.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests"), root.join("kernels"), root.join("scripts")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => files.push(entry),
            }
        }
    }
    let wanted = |file: &PathBuf| {
        file.extension().is_some_and(|kind| ["rs", "cu", "cuh", "h", "cpp", "c", "py"].iter().any(|k| *k == kind))
    };
    files.retain(wanted);
    assert!(files.len() > 50, "the walk found the sources");
    files
}

/// (first line, lines) of each function longer than `limit`: from `fn` to the closing brace at the same indentation.
fn long_functions(text: &str, limit: usize) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let words = ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn ", "unsafe fn ", "pub unsafe fn "];
        if !words.iter().any(|word| body.starts_with(word)) {
            continue;
        }
        // A declaration in a trait has no body: a semicolon comes before any brace.
        let signature = lines[start..].iter().find(|line| line.ends_with('{') || line.ends_with(';'));
        if signature.is_some_and(|line| line.ends_with(';')) {
            continue;
        }
        let closing = format!("{}}}", &line[..line.len() - body.len()]);
        let end = lines[start..].iter().position(|line| *line == closing).unwrap_or(0);
        if end + 1 > limit {
            found.push((start + 1, end + 1));
        }
    }
    found
}

#[test]
fn files_and_functions_are_short() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES, "{}: {lines} lines, at most {FILE_LINES}", file.display());
        let long = long_functions(&text, FUNCTION_LINES);
        assert!(long.is_empty(), "{}: functions (line, length) {long:?}, at most {FUNCTION_LINES}", file.display());
    }
}

#[test]
fn the_measure_of_functions_measures() {
    let body = "    x();\n".repeat(70);
    assert_eq!(long_functions(&format!("fn a() {{\n{body}}}\nfn b() {{\n}}\n"), 70), [(1, 72)]);
    assert_eq!(long_functions(&format!("fn a(\n    b: u8,\n);\n{body}}}\n"), 70), []);
}

#[test]
fn nothing_is_left_lying_about() {
    // Spelt in halves, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["dbg", "!("], ["unimple", "mented!"], ["to", "do!("]];
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for word in words.map(|halves| halves.concat()) {
            assert!(!text.contains(&word), "{}: {word}", file.display());
        }
    }
}

/// Whether the text uses `crate::other`, alone or in a group.
fn imports(text: &str, other: &str) -> bool {
    let grouped = |rest: &str| {
        let group = rest.split_once('}').map_or("", |(group, _)| group);
        group.split([',', ' ', '\n']).any(|word| word.split("::").next() == Some(other))
    };
    let direct = text.match_indices("crate::").any(|(at, _)| {
        let rest = &text[at + "crate::".len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next() == Some(other)
    });
    direct || text.split("crate::{").skip(1).any(grouped)
}

#[test]
fn grouped_imports_are_seen() {
    for text in ["use crate::dataset::X;", "use crate::{Error, dataset};", "use crate::{\n    dataset::Y,\n};"] {
        assert!(imports(text, "dataset") && !imports(text, "data"), "{text}");
    }
}

/// Data flows one way; these are the arrows that must not point back.
#[test]
fn modules_import_in_one_direction() {
    let forbidden = [
        ("ingest", "gpt cpu cuda engine train sample score detect fidelity dataset tokens report"),
        ("record", "gpt cpu cuda engine train sample score detect fidelity dataset tokens report ingest"),
        ("tokens", "gpt cpu cuda engine train sample score detect fidelity dataset ingest record report"),
        ("dataset", "gpt cpu cuda train sample score detect fidelity report"),
        ("gpt", "cpu cuda ingest record tokens dataset train sample score detect fidelity report"),
        ("cpu", "cuda ingest record tokens dataset train sample score detect fidelity report files"),
        ("cuda", "ingest record tokens dataset train sample score detect fidelity report files"),
        ("sample/constraint", "engine gpt ingest dataset train score detect fidelity report files"),
        ("detect", "gpt cpu cuda engine train sample score fidelity dataset tokens report"),
        ("fidelity", "gpt cpu cuda engine train sample score detect dataset tokens"),
        ("report", "gpt cpu cuda engine train sample score dataset tokens"),
    ];
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for (module, others) in forbidden {
            let inside = file.to_string_lossy().contains(&format!("src/{module}/"));
            for other in others.split(' ').filter(|_| inside) {
                assert!(!imports(&text, other), "{}: imports {other}", file.display());
            }
        }
        let drives = ["train", "sample", "score"]
            .iter()
            .any(|module| file.to_string_lossy().contains(&format!("src/{module}/")));
        let names_one = imports(&text, "cpu") || imports(&text, "cuda");
        assert!(!drives || !names_one, "{}: names an engine", file.display());
        let library = file.to_string_lossy().contains("/src/") && !file.to_string_lossy().contains("/src/cli/");
        assert!(
            !library || file.ends_with("main.rs") || !text.contains("crate::cli"),
            "{}: imports cli",
            file.display()
        );
    }
}

/// Kernels run on two compilers: inline PTX stands in one file, shared memory and launches behind names that both know.
#[test]
fn kernels_keep_to_the_common_language() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let of_kernels = |file: &&PathBuf| file.parent() == Some(&kernels);
    let files = sources();
    assert!(files.iter().filter(of_kernels).count() > 10);
    for file in files.iter().filter(of_kernels) {
        let text = fs::read_to_string(file).unwrap();
        let code: String = text.lines().map(|line| line.split("//").next().unwrap_or("").to_string() + "\n").collect();
        for (word, home) in [("asm", "ptx.cuh"), ("__shared__", "common.cuh"), ("<<<", "")] {
            let found = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '<')).any(|part| part == word);
            assert!(!found || file.ends_with(home), "{}: {word}", file.display());
        }
    }
}
