//! What README, docs/ and the help texts tell a reader to type works.
//!
//! A block of commands behind a line `<!-- run -->` (which no reader sees) is run in a folder with logs, a data folder and a model,
//! block after block of a page; all other command lines are compared with the help of their command.

use crate::common::{logwright, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The line before a block of commands that is run.
const MARK: &str = "<!-- run -->";

/// What stands before the commands of a page: models that train in a moment, few records, one thread, and a log that ends.
const PRELUDE: &str = r#"
set -e -o pipefail
logwright() {
    local command=$1; shift
    case $command in
        train) set -- "$@" --layers 1 --heads 2 --channels 32 --context 64 --batch 2 --steps 6 --warmup 2 --eval-windows 4 ;;
        generate) set -- "$@" -n 6 --max-tokens 1200 ;;
        demo) set -- "$@" --records 200 --steps 2 --samples 2 --vocab-size 300 ;;
        bench)
            case $1 in
                train) set -- "$@" --layers 1 --heads 1 --channels 8 --context 8 --vocab 8 --batch 1 --steps 1 ;;
                generate) set -- "$@" --layers 1 --heads 1 --channels 8 --context 8 --vocab 8 --tokens 2 ;;
            esac ;;
        synth) [[ " $* " = *" -n "* ]] || set -- "$@" -n 20 ;;
        completions | man) "$LOGWRIGHT" "$command" "$@"; return ;;
    esac
    "$LOGWRIGHT" "$command" "$@" --threads 1 --quiet
}
tail() { if [ "$1" = -F ]; then cat "$2"; else command tail "$@"; fi; }
"#;

/// A folder with what the pages begin with: logs.jsonl, normal.jsonl, today.jsonl with labels.jsonl, and data/ and run/ made of
/// the first.
static BEGINNING: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let logs = [
        ("logs.jsonl", "-n 400 --attacks 0"),
        ("normal.jsonl", "-n 100 --attacks 0 --start 2022-11-01"),
        ("today.jsonl", "-n 100 --attacks 0.1 --start 2022-12-01 --labels labels.jsonl"),
    ];
    for (name, flags) in logs {
        let made = run(folder.path(), &format!("synth {flags}"));
        made.has(0, &[]);
        // One record that even an untrained model finds.
        let odd = format!("\"browser\": \"{}", "python-requests/2.31 ".repeat(20));
        let made = if name == "today.jsonl" { made.out.replacen("\"browser\": \"", &odd, 1) } else { made.out };
        fs::write(folder.path().join(name), made).unwrap();
    }
    let made =
        run_script(folder.path(), "logwright prepare logs.jsonl --out data; logwright train --data data --out run");
    assert_eq!(made, Ok(()));
    folder
});

/// Runs commands after the prelude; an error is what they said.
fn run_script(folder: &Path, script: &str) -> Result<(), String> {
    let output = Command::new("bash")
        .args(["-c", &format!("{PRELUDE}{script}")])
        .current_dir(folder)
        .env("LOGWRIGHT", env!("CARGO_BIN_EXE_logwright"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{}: {said}", output.status)) }
}

/// A copy of the beginning, without what the script makes itself.
fn beginning(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(BEGINNING.path().join(".")).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    for made in ["data", "run"] {
        if script.split_whitespace().collect::<Vec<_>>().windows(2).any(|pair| pair == ["--out", made]) {
            fs::remove_dir_all(folder.path().join(made)).unwrap();
        }
    }
    folder
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The blocks of commands of a page, and whether each is marked to be run.
fn blocks(text: &str) -> Vec<(bool, String)> {
    let mut found: Vec<(bool, String)> = Vec::new();
    let (mut before, mut is_inside) = ("", false);
    for line in text.lines() {
        match line {
            "```sh" => (is_inside, _) = (true, found.push((before == MARK, String::new()))),
            "```" => is_inside = false,
            _ if is_inside => found.last_mut().unwrap().1 += &format!("{line}\n"),
            _ => {}
        }
        before = line;
    }
    found
}

/// README, the guide for contributors, and the pages of docs/.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|file| file.extension().is_some_and(|kind| kind == "md"));
    ["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into_iter().chain(docs).collect()
}

/// Runs the marked blocks of a page, one after the other in one shell.
#[track_caller]
fn try_page(name: &str) {
    let text = fs::read_to_string(root().join(name)).unwrap();
    let script: String = blocks(&text).into_iter().filter(|(is_run, _)| *is_run).map(|(_, block)| block).collect();
    assert!(!script.is_empty(), "{name}: no block is marked {MARK}");
    let folder = beginning(&script);
    assert_eq!(run_script(folder.path(), &script), Ok(()), "{name}:\n{script}");
}

macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        $(
            #[test]
            fn $test() {
                try_page($page);
            }
        )*

        const RUN: &[&str] = &[$($page),*];
    };
}

pages! {
    readme: "README.md",
    start: "docs/start.md",
    find_anomalies: "docs/find-anomalies.md",
    soc: "docs/soc.md",
    alerts: "docs/alerts.md",
    generate: "docs/generate.md",
    share: "docs/share.md",
    train: "docs/train.md",
    gpu: "docs/gpu.md",
    reports: "docs/reports.md",
    scale: "docs/scale.md",
}

#[test]
fn a_page_with_a_marked_block_is_run() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let marked = blocks(&text).iter().any(|(is_run, _)| *is_run);
        let is_run = RUN.iter().any(|name| root().join(name) == page);
        assert_eq!(marked, is_run, "{}: marked with {MARK}, listed in tests/cli/pages.rs", page.display());
        // A mark that does not stand right before a block would do nothing.
        let marks = text.lines().filter(|line| *line == MARK).count();
        assert_eq!(marks, blocks(&text).iter().filter(|(is_run, _)| *is_run).count(), "{}", page.display());
    }
}

#[test]
fn a_command_that_fails_is_noticed() {
    let folder = beginning("");
    for script in ["logwright prepare absent.jsonl --out x", "false | cat", "logwright nonsense"] {
        assert!(run_script(folder.path(), &format!("{script}\ntrue\n")).is_err(), "{script}");
    }
    let text = format!("{MARK}\n```sh\na\n```\n\n```sh\nb\n```\n{MARK}\n\n```sh\nc\n```\n```text\nd\n```\n");
    assert_eq!(blocks(&text), [(true, "a\n".into()), (false, "b\n".into()), (false, "c\n".into())]);
}

/// The help of a command, such as `known-good add`.
fn help(command: &str) -> String {
    let arguments = command.split_whitespace().chain(["--help"]);
    let output = logwright().args(arguments).env("COLUMNS", "110").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names of the commands that a help lists.
fn commands_of(help: &str) -> Vec<String> {
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default().lines().take_while(|line| !line.is_empty());
    let name =
        |line: &str| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()).map(String::from);
    listed.filter_map(name).filter(|name| name != "help").collect()
}

/// Every command with its help, commands of commands behind theirs; the program itself is "".
fn all_commands() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(command) = waiting.pop() {
        let text = help(&command);
        let inner = commands_of(&text).into_iter().rev();
        waiting.extend(inner.map(|name| format!("{command} {name}").trim().to_string()));
        found.push((command, text));
    }
    assert!(found.len() > 12, "{found:?}");
    found
}

/// What is wrong with the flags of a command line, if it calls the program.
fn fault(words: &[&str], helps: &BTreeMap<String, String>) -> Option<String> {
    let at = words.iter().position(|word| *word == "logwright" || word.ends_with("/logwright"))?;
    let arguments = &words[at + 1..];
    let first = arguments.first().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))?;
    let two = arguments.get(1).map(|second| format!("{first} {second}")).filter(|two| helps.contains_key(two));
    let command = two.unwrap_or(first.to_string());
    let Some(help) = helps.get(&command) else { return Some(format!("no command {command}")) };
    let flags = arguments.iter().filter(|word| word.starts_with('-') && word.len() > 1);
    let names = |flag: &str| help.split(|c: char| c.is_whitespace() || ",[]".contains(c)).any(|word| word == flag);
    let unknown = flags.map(|flag| flag.split('=').next().unwrap()).find(|flag| !names(flag));
    unknown.map(|flag| format!("{command} has no flag {flag}"))
}

#[test]
fn commands_and_flags_of_the_pages_exist() {
    let helps: BTreeMap<String, String> = all_commands().into_iter().collect();
    let mut lines = 0;
    for page in pages() {
        for (_, block) in blocks(&fs::read_to_string(&page).unwrap()) {
            for line in block.lines() {
                let command = line.split(" #").next().unwrap();
                for part in command.split(['|', ';', '>', '<']) {
                    let words: Vec<&str> = part.split_whitespace().collect();
                    lines += usize::from(words.contains(&"logwright"));
                    assert_eq!(fault(&words, &helps), None, "{}: {line}", page.display());
                }
            }
        }
    }
    assert!(lines > 50, "{lines} command lines");
    for line in ["logwright nonsense", "logwright train --nonsense x", "x/logwright known-good add --labels y"] {
        assert!(fault(&line.split(' ').collect::<Vec<_>>(), &helps).is_some(), "{line}");
    }
}

/// Every command has examples, and they work.
#[test]
fn examples_of_the_help_work() {
    let mut script = String::new();
    for (command, text) in all_commands() {
        let examples: Vec<&str> = text.split("\nExamples:\n").skip(1).flat_map(str::lines).collect();
        let examples = examples.iter().map(|line| line.trim()).take_while(|line| !line.is_empty());
        let examples: Vec<&str> = examples.collect();
        assert!(!examples.is_empty(), "{command}: no examples");
        // Where there is no GPU, and what ends by itself.
        let ends = |line: &&&str| !line.contains("--device cuda") && !line.starts_with("logwright serve");
        let can_run = examples.iter().filter(ends);
        script.extend(can_run.map(|line| format!("{line}\n")));
    }
    let folder = beginning(&script);
    assert_eq!(run_script(folder.path(), &script), Ok(()), "{script}");
}

/// `docs/commands.md` is the help of every command.
#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let mut page = String::from(
        "# Commands\n\nEvery command and flag, as `logwright COMMAND --help` prints them. (A test of this repository writes this page: \
         `UPDATE=1 cargo test --profile quick --test cli pages::the_page_of_commands`.)\n",
    );
    for (command, text) in all_commands() {
        let name = format!("logwright {command}");
        page += &format!("\n## {}\n\n```text\n{}\n```\n", name.trim(), text.trim_end());
    }
    let path = root().join("docs/commands.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    let differs = found.lines().zip(page.lines()).find(|(found, wanted)| found != wanted);
    assert!(
        found == page,
        "docs/commands.md is not what the program says, first where (page, program): {differs:?}; write it anew: \
         UPDATE=1 cargo test --profile quick --test cli pages::the_page_of_commands"
    );
}
