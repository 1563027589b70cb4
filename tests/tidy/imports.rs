//! Who uses whom among the files of `src/`, read from their text: `use` declarations and paths that begin with `crate`,
//! `super`, `self`, `logwright` or a child module. A name that a file only re-exports counts for the file that defines it.
//! Test code does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module's path from the crate root; the root itself is empty.
pub type ModulePath = Vec<String>;

struct Module {
    file: PathBuf,
    code: String,
    /// Absolute paths that the file names.
    named: BTreeSet<Vec<String>>,
    /// Name in scope by a `use` -> absolute path.
    scope: BTreeMap<String, Vec<String>>,
}

pub struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

/// The program on top of the library is a crate of its own; its root is called this.
const PROGRAM: &str = "main";

impl Crate {
    /// Reads every source file below `src`.
    pub fn read(src: &Path) -> Self {
        let mut sources = BTreeMap::new();
        let mut folders = vec![src.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|kind| kind == "rs") {
                    let path = module_path(entry.strip_prefix(src).unwrap());
                    let text = fs::read_to_string(&entry).unwrap();
                    sources.insert(path, (entry, text));
                }
            }
        }
        Self::of(sources)
    }

    /// From the modules' files and texts.
    pub fn of(sources: BTreeMap<ModulePath, (PathBuf, String)>) -> Self {
        let mut modules = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (path, (file, text)) in sources {
            let (code, dropped) = without_tests(&without_scopes(&plain_code(&text)));
            tests.extend(dropped.into_iter().map(|child| joined(&path, &[child])));
            modules.insert(path, Module { file, code, named: BTreeSet::new(), scope: BTreeMap::new() });
        }
        modules.retain(|path, _| !tests.contains(path));
        let paths: BTreeSet<ModulePath> = modules.keys().cloned().collect();
        for (path, module) in &mut modules {
            module.collect(path, &paths);
        }
        Crate { modules }
    }

    /// File -> the files whose items it names.
    pub fn uses(&self) -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
        let of = |(path, module): (&ModulePath, &Module)| {
            let used = module.named.iter().map(|named| self.definer(named, 0)).filter(|user| user != path);
            (path.clone(), used.collect())
        };
        self.modules.iter().map(of).collect()
    }

    pub fn file(&self, module: &ModulePath) -> &Path {
        &self.modules[module].file
    }

    /// The text of a file without comments, strings and test code.
    pub fn code(&self, module: &ModulePath) -> &str {
        &self.modules[module].code
    }

    /// Whether the file only gives methods to types of other files: these are used without naming this one.
    pub fn gives_methods(&self, module: &ModulePath) -> bool {
        let lines = || self.modules[module].code.lines();
        lines().any(|line| line.starts_with("impl")) && !lines().any(|line| line.starts_with("pub"))
    }

    /// Whether the file only declares and re-exports modules.
    pub fn is_map(&self, module: &ModulePath) -> bool {
        let is_item = |line: &str| {
            let line = match line.strip_prefix("pub") {
                Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(rest, |(_, item)| item),
                Some(rest) => rest.trim_start(),
                None => line,
            };
            let items =
                ["fn ", "unsafe ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "impl", "macro_rules!"];
            items.iter().any(|item| line.starts_with(item))
        };
        !self.modules[module].code.lines().any(is_item)
    }

    /// The module whose file defines the item at an absolute path.
    fn definer(&self, path: &[String], depth: usize) -> ModulePath {
        let known = (0..=path.len()).rev().find(|&n| self.modules.contains_key(&path[..n])).unwrap_or(0);
        let (module, rest) = path.split_at(known);
        let reexported = rest.first().and_then(|name| self.modules.get(module)?.scope.get(name));
        match reexported {
            // The bound ends loops of files that re-export from each other.
            Some(target) if depth < 8 && *target != path[..known + 1] => {
                self.definer(&joined(target, &rest[1..]), depth + 1)
            }
            _ => module.to_vec(),
        }
    }
}

impl Module {
    fn collect(&mut self, at: &ModulePath, known: &BTreeSet<ModulePath>) {
        let mut rest = String::new();
        let mut code = self.code.as_str();
        while let Some((start, declaration, end)) = next_use(code) {
            rest.push_str(&code[..start]);
            for (name, path) in use_paths(declaration) {
                if let Some(path) = absolute(&path, at, known) {
                    self.scope.insert(name, path.clone());
                    self.named.insert(path);
                }
            }
            code = &code[end..];
        }
        rest.push_str(code);
        let paths = rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        for path in paths.filter(|path| path.contains("::")) {
            let segments: Vec<String> = path.split("::").map(String::from).collect();
            let is_scoped = self.scope.contains_key(&segments[0]);
            if let Some(path) = absolute(&segments, at, known).filter(|_| !is_scoped) {
                self.named.insert(path);
            }
        }
    }
}

/// `cuda/mod.rs` and `cuda.rs` are `[cuda]`, `lib.rs` is the root.
fn module_path(file: &Path) -> ModulePath {
    let mut path: ModulePath = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

fn joined(path: &[String], rest: &[String]) -> Vec<String> {
    [path, rest].concat()
}

/// The path from the crate root; none for another crate's.
fn absolute(path: &[String], at: &ModulePath, known: &BTreeSet<ModulePath>) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" | "logwright" => Some(rest.to_vec()),
        "self" => Some(joined(at, rest)),
        "super" => {
            let supers = path.iter().take_while(|segment| *segment == "super").count();
            Some(joined(&at[..at.len().checked_sub(supers)?], &path[supers..]))
        }
        // The program's modules lie beside `main.rs`, not below it.
        _ if at.iter().eq([PROGRAM]) && known.contains(&path[..1]) => Some(path.to_vec()),
        _ => {
            let child = joined(at, &path[..1]);
            known.contains(&child).then(|| joined(at, path))
        }
    }
}

/// The next `use` declaration: where it starts, its tree, and where it ends.
fn next_use(code: &str) -> Option<(usize, &str, usize)> {
    let start = code.match_indices("use ").map(|(at, _)| at).find(|&at| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| c == '\n' || c == ' ') && code[at..].contains(';')
    })?;
    let end = start + code[start..].find(';')?;
    Some((start, &code[start + "use ".len()..end], end + 1))
}

/// Every path of a `use` tree with the name that it brings into scope.
fn use_paths(tree: &str) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    if let Some((prefix, group)) = tree.split_once('{') {
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let inner = split_group(group).into_iter().flat_map(|part| use_paths(&format!("{prefix}{}", part.trim())));
        return inner.collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
    let mut path: Vec<String> = path.trim().split("::").map(|part| part.trim().to_string()).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let Some(last) = path.last().filter(|last| !last.is_empty()) else { return vec![] };
    vec![(alias.map_or(last.clone(), |alias| alias.trim().to_string()), path)]
}

/// Splits at commas outside of inner groups.
fn split_group(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (vec![], 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

/// The text without comments and without what stands in string and character literals.
fn plain_code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = literal_or_comment(rest);
        if skip > 0 {
            code.extend(rest[..skip].chars().filter(|&c| c == '\n'));
            rest = &rest[skip..];
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// Bytes of the comment or literal that the text begins with; 0 when it begins with neither.
fn literal_or_comment(text: &str) -> usize {
    let until = |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("//") {
        return until(0, "\n") - 1;
    }
    if text.starts_with("/*") {
        return until(2, "*/");
    }
    for hashes in ["#", "##"] {
        if text.starts_with(&format!("r{hashes}\"")) {
            return until(2 + hashes.len(), &format!("\"{hashes}"));
        }
    }
    if let Some(string) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = string.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return end.map_or(text.len(), |end| end + 2);
    }
    // 'x' and '\n', but no lifetime.
    let mut chars = text.char_indices().map(|(at, _)| at);
    if text.starts_with("'\\") {
        return until(3, "'");
    }
    if text.starts_with('\'') && chars.nth(2).is_some_and(|end| text[end..].starts_with('\'')) {
        return text.char_indices().nth(3).map_or(text.len(), |(at, _)| at);
    }
    0
}

/// The code without the paths of `pub(in PATH)`, which say who may use an item, not what it uses.
fn without_scopes(code: &str) -> String {
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |kept, part| kept + part.split_once(") ").map_or(part, |(_, item)| item))
}

/// The code without what stands behind `#[cfg(test)]`, and the names of test modules in files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut files) = (String::new(), vec![]);
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let end = match (item.find(';'), item.find('{')) {
            (Some(semicolon), brace) if brace.is_none_or(|brace| semicolon < brace) => {
                let declared = item[..semicolon].trim().trim_start_matches("pub ");
                files.extend(declared.strip_prefix("mod ").map(String::from));
                semicolon + 1
            }
            (_, Some(brace)) => brace + block(&item[brace..]),
            _ => item.len(),
        };
        rest = &item[end..];
    }
    kept.push_str(rest);
    (kept, files)
}

/// Bytes of the block in braces that the text begins with.
fn block(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}
