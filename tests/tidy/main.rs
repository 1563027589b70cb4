//! House rules that a reader relies on: short files, short functions, nothing left lying about.

mod graph;
mod imports;
mod links;

use graph::Graph;
use imports::{Crate, ModulePath};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

fn all_files() -> Vec<PathBuf> {
    let mut folders =
        ["src", "tests", "kernels", "scripts", "fuzz/fuzz_targets"].map(|folder| root().join(folder)).to_vec();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => files.push(entry),
            }
        }
    }
    files
}

fn sources() -> Vec<PathBuf> {
    let mut files = all_files();
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

/// Cargo.toml has the program's own unit tests left out, so one that stood there would never run.
#[test]
fn the_program_holds_no_unit_tests() {
    for file in sources().into_iter().filter(|file| file.starts_with(root().join("src/cli"))) {
        assert!(!fs::read_to_string(&file).unwrap().contains("#[test]"), "{}: a unit test", file.display());
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

/// Kernels run on two compilers: inline PTX stands in its headers, shared memory and launches behind names that both know.
#[test]
fn kernels_keep_to_the_common_language() {
    let kernels = root().join("kernels");
    let of_kernels = |file: &&PathBuf| file.parent() == Some(&kernels);
    let files = sources();
    assert!(files.iter().filter(of_kernels).count() > 10);
    for file in files.iter().filter(of_kernels) {
        let text = fs::read_to_string(file).unwrap();
        let code: String = text.lines().map(|line| line.split("//").next().unwrap_or("").to_string() + "\n").collect();
        const PTX: &[&str] = &["ptx.cuh", "ptx_hopper.cuh", "ptx_wgmma.cuh"];
        for (word, homes) in [("asm", PTX), ("__shared__", &["common.cuh"]), ("<<<", &[])] {
            let found = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '<')).any(|part| part == word);
            assert!(!found || homes.iter().any(|home| file.ends_with(home)), "{}: {word}", file.display());
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name(module: &ModulePath) -> String {
    if module.is_empty() { "lib".into() } else { module.join("::") }
}

/// A file whose items use each other in a circle with another file's cannot be read, moved or tested alone.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = Crate::read(&root().join("src"));
    let mut uses = sources.uses();
    // A map of a room names everything in it and holds nothing itself.
    uses.iter_mut().filter(|(module, _)| sources.is_map(module)).for_each(|(_, used)| used.clear());
    let circles: Vec<Vec<String>> =
        graph::circles(&uses).iter().map(|circle| circle.iter().map(name).collect()).collect();
    assert!(circles.is_empty(), "import circles: {circles:#?}\nmove what both sides use into a file below both");
}

#[test]
fn every_source_file_is_used() {
    let sources = Crate::read(&root().join("src"));
    let uses = sources.uses();
    for module in uses.keys() {
        let used = uses.iter().any(|(user, used)| user != module && used.contains(module));
        let is_entry = module.is_empty() || module.iter().eq(["main"]);
        assert!(
            used || is_entry || sources.is_map(module) || sources.gives_methods(module),
            "{}: no other file uses it (tests do not count): delete it, or use it",
            sources.file(module).display()
        );
    }
}

/// What creates a file decides who may read it and what a kill leaves of it, so only one room does.
#[test]
fn only_one_room_creates_files() {
    let sources = Crate::read(&root().join("src"));
    let calls = [
        "File::create",
        "fs::write",
        "OpenOptions",
        "File::options",
        "create_dir",
        "DirBuilder",
        "tempfile",
        "serialize_to_file",
    ];
    let mut creates = BTreeSet::new();
    for module in sources.uses().keys() {
        let code = sources.code(module);
        // `WholeFile::create` is another name.
        let begins = |at: usize| !code[..at].ends_with(char::is_alphanumeric);
        let found = calls.iter().find(|call| code.match_indices(**call).any(|(at, _)| begins(at)));
        creates.extend(found.map(|_| room(module).unwrap_or_default()));
        let inside = room(module).is_some_and(|room| room == "files");
        assert!(found.is_none() || inside, "{}: {found:?}: use crate::files", sources.file(module).display());
    }
    assert_eq!(creates, BTreeSet::from(["files".to_string()]));
}

/// Headers of kernels and scripts have no compiler that would notice.
#[test]
fn every_header_and_script_is_named_somewhere() {
    let text = |file: &PathBuf| fs::read_to_string(file).unwrap_or_default();
    let others = [".ci/run", ".ci/long", "build.rs"].map(|name| root().join(name));
    let files: Vec<PathBuf> = all_files().into_iter().chain(links::pages()).chain(others).collect();
    let texts: Vec<(&PathBuf, String)> = files.iter().map(|file| (file, text(file))).collect();
    let folder = |file: &PathBuf| file.strip_prefix(root()).unwrap().iter().next().unwrap() == "scripts";
    let is_header = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "cuh" || kind == "h");
    for file in files.iter().filter(|file| folder(file) || is_header(file)) {
        let name = file.file_name().unwrap().to_string_lossy();
        let named = texts.iter().any(|(other, text)| *other != file && text.contains(&*name));
        assert!(named, "{}: nothing names it: delete it, or say where it is used", file.display());
    }
}

#[test]
fn every_allowed_lint_has_a_reason() {
    for file in sources().iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        let text = fs::read_to_string(file).unwrap();
        for (at, line) in (1..).zip(text.lines()) {
            let allows = ["#[allow(", "#![allow("].iter().any(|start| line.trim_start().starts_with(start));
            let item: String = text.lines().skip(at - 1).take_while(|line| !line.trim().is_empty()).take(3).collect();
            assert!(!allows || item.contains("reason ="), "{}:{at}: #[allow] without a reason", file.display());
        }
    }
}

/// The room of a file: its folder in `src/` (in `src/cuda/`, its folder there), or the file itself.
fn room(module: &ModulePath) -> Option<String> {
    match module.first().map(String::as_str)? {
        "main" => Some("cli".into()),
        "cuda" if module.len() > 1 => Some(format!("cuda/{}", module[1])),
        first => Some(first.into()),
    }
}

/// ARCHITECTURE.md draws the rooms: an arrow for every use of one room by another, those left out that follow from others.
#[test]
fn the_diagram_shows_the_rooms_as_they_are() {
    let mut rooms: Graph<String> = Graph::new();
    for (user, used) in Crate::read(&root().join("src")).uses() {
        for (from, to) in used.iter().filter_map(|used| Some((room(&user)?, room(used)?))).filter(|(a, b)| a != b) {
            rooms.entry(to.clone()).or_default();
            rooms.entry(from).or_default().insert(to);
        }
    }
    let circles = graph::circles(&rooms);
    assert!(circles.is_empty(), "rooms import each other in a circle: {circles:?}");
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let block = page.split("```mermaid").nth(1).and_then(|rest| rest.split("```").next()).expect("a diagram");
    // "a --> b & c" draws two arrows.
    let arrows = |line: &str| -> Vec<(String, String)> {
        let Some((from, to)) = line.split_once(" --> ") else { return vec![] };
        to.split(" & ").map(|to| (from.trim().to_string(), to.trim().to_string())).collect()
    };
    let drawn: BTreeSet<(String, String)> = block.lines().flat_map(arrows).collect();
    let found = graph::essential(&rooms);
    let list = |arrows: Vec<&(String, String)>| {
        arrows.iter().map(|(from, to)| format!("    {from} --> {to}\n")).collect::<String>()
    };
    let (missing, wrong) = (list(found.difference(&drawn).collect()), list(drawn.difference(&found).collect()));
    assert!(found == drawn, "ARCHITECTURE.md lacks\n{missing}and has, though the code does not need it,\n{wrong}");
}

/// Walks and tables of the pages name files by their path from the root, from `src/`, or by the end of their path.
#[test]
fn the_files_that_the_pages_name_exist() {
    let files: Vec<String> = all_files().iter().map(|file| file.to_string_lossy().into_owned()).collect();
    // LOG.md and CHANGELOG.md speak of what was.
    let history = |page: &PathBuf| page.ends_with("LOG.md") || page.ends_with("CHANGELOG.md");
    for page in links::pages().into_iter().filter(|page| !history(page)) {
        let text = fs::read_to_string(&page).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        let is_source = |name: &&str| {
            let mut kinds = [".rs", ".cu", ".cuh", ".py"].iter();
            kinds.any(|kind| name.ends_with(kind)) && name.chars().all(|c| c.is_alphanumeric() || "_./".contains(c))
        };
        // CONTRIBUTING.md invents a kernel of this name.
        for name in quoted.filter(is_source).filter(|name| !name.contains("axpby") && !name.starts_with('.')) {
            let exists = root().join(name).exists() || files.iter().any(|file| file.ends_with(&format!("/{name}")));
            assert!(exists, "{} names {name}, which does not exist", page.display());
        }
    }
}

#[test]
fn circles_and_essential_arrows_are_found() {
    let graph: Graph<u8> = [(1, vec![2, 3]), (2, vec![3]), (3, vec![]), (4, vec![5]), (5, vec![4, 1])]
        .map(|(from, to)| (from, BTreeSet::from_iter(to)))
        .into();
    assert_eq!(graph::circles(&graph), BTreeSet::from([BTreeSet::from([4, 5])]));
    let line: Graph<u8> = graph.into_iter().filter(|(node, _)| *node < 4).collect();
    assert_eq!(graph::essential(&line), BTreeSet::from([(1, 2), (2, 3)]));
}

/// A small crate: names through a re-export, a child module, a group with `self` and an alias, test code, a comment.
#[test]
fn uses_are_read_as_the_compiler_reads_them() {
    let files = [
        ("", "pub mod a;\npub mod b;\npub use a::deep::Thing;\n"),
        ("a", "pub mod deep;\npub fn f() -> deep::Thing { \"crate::b::no\"; 'x'; deep::make() }\n"),
        ("a::deep", "use super::super::b::{self, inner::Other as O};\npub struct Thing;\n// crate::a::f()\n"),
        ("b", "pub mod inner;\n#[cfg(test)]\nmod tests { use crate::a::f; }\n#[cfg(test)]\nmod more;\npub fn g() {}\n"),
        ("b::inner", "fn h(x: crate::Thing) { r#\"crate::a::f\"#; }\n"),
        ("b::more", "use crate::a::f;\n"),
    ];
    let path = |name: &str| name.split("::").filter(|part| !part.is_empty()).map(String::from).collect::<ModulePath>();
    let source = |(name, text): (&str, &str)| (path(name), (PathBuf::from(name), text.to_string()));
    let uses = Crate::of(files.map(source).into()).uses();
    let expected = [
        ("", vec!["a::deep"]),
        ("a", vec!["a::deep"]),
        ("a::deep", vec!["b", "b::inner"]),
        ("b", vec![]),
        ("b::inner", vec!["a::deep"]),
    ];
    let expected: Graph<ModulePath> =
        expected.map(|(name, used)| (path(name), used.into_iter().map(path).collect())).into();
    assert_eq!(uses, expected);
}
