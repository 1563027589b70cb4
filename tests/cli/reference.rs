//! What the program says of itself: version, completions, man pages, other names of flags, colour.

use crate::common::{SMALL, corpus, run};
use std::fs;
use std::process::{Command, Stdio};

#[test]
fn the_version_names_commit_features_and_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let short = run(folder.path(), "-V");
    assert_eq!(short.out, format!("logwright {}\n", env!("CARGO_PKG_VERSION")));
    let long = run(folder.path(), "--version");
    let lines: Vec<(&str, &str)> = long.out.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["logwright", "commit", "features", "kernels"]);
    let commit = lines[1].1.trim();
    let is_named = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_named || commit.starts_with("not "), "{commit}");
    assert_eq!(lines[2].1.contains("emulator"), cfg!(feature = "emulator"), "{}", long.out);
    assert_eq!(lines[3].1.contains("sm_90a"), cfg!(gpu_kernels), "{}", long.out);
}

#[test]
fn completions_know_every_command_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = run(folder.path(), &format!("completions {shell}"));
        said.has(0, &[]);
        for word in ["known-good", "alerts-per-day", "max-iters", "doctor"] {
            assert!(said.out.contains(word), "{shell} does not know {word}");
        }
    }
    run(folder.path(), "completions tcsh").has(2, &["possible values", "fish"]);
    let script = run(folder.path(), "completions bash").out;
    fs::write(folder.path().join("logwright.bash"), script).unwrap();
    let complete = "source ./logwright.bash; COMP_WORDS=(logwright trai); COMP_CWORD=1; _logwright logwright trai logwright; \
                    echo ${COMPREPLY[@]}";
    let said = Command::new("bash").args(["-c", complete]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "train", "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn man_pages_are_those_of_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for (command, words) in [
        ("", ["logwright\\-prepare", "EXTRA"]),
        ("score", [".TH logwright-score", "alerts\\-per\\-day"]),
        ("known-good add", [".TH logwright-known-good-add", "Examples:"]),
    ] {
        let said = run(folder.path(), &format!("man {command}"));
        said.has(0, &[]);
        for word in words {
            assert!(said.out.contains(word), "man {command} lacks {word}:\n{}", said.out);
        }
    }
    run(folder.path(), "man trains").has(2, &["no command trains", "known-good"]);
    run(folder.path(), "man train x").has(2, &["train has no command x"]);
}

/// Names that people try, in the place of ours, set the same settings.
#[test]
fn other_names_of_flags_mean_the_same() {
    let home = corpus(60, "--tokenizer bytes");
    let names = "--n-layer 1 --n-head 2 --n-embd 16 --block-size 40 --batch-size 3 --gradient-accumulation-steps 2 --max-iters 4 \
                 --lr 0.001 --min-lr 0.0001 --warmup-iters 1 --eval-interval 2 --eval-windows 4";
    run(home.path(), &format!("train --data data -o run {names}")).has(0, &[]);
    let settings: toml::Table = fs::read_to_string(home.path().join("run/config.toml")).unwrap().parse().unwrap();
    for (name, value) in [
        ("layers", 1),
        ("heads", 2),
        ("channels", 16),
        ("context", 40),
        ("batch", 3),
        ("accumulation", 2),
        ("steps", 4),
        ("warmup", 1),
        ("eval_every", 2),
    ] {
        assert_eq!(settings[name].as_integer(), Some(value), "{name}");
    }
    assert!((settings["learning_rate"].as_float().unwrap() - 1e-3).abs() < 1e-9);
    let said = run(home.path(), "generate -m run --num-samples 2 --max-new-tokens 5 --format jsonl -v");
    said.has(0, &[]);
    assert_eq!(said.out.lines().count(), 2);
    let said = run(home.path(), "prepare corpus.jsonl -o again --tokenizer bytes -v");
    said.has(0, &["DEBUG", "corpus.jsonl"]);
    run(home.path(), "prepare corpus.jsonl -o third --tokenizer bytes -v -q").has(2, &["--verbose", "--quiet"]);
}

/// On a terminal, which `script` makes.
#[test]
fn no_colour_where_none_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let said = |no_color: &str, arguments: &str| {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_logwright"));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(folder.path()).stdin(Stdio::null());
        let output = command.env("NO_COLOR", no_color).env("TERM", "xterm").output().expect("script, of util-linux");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for arguments in ["generate --model absent", "train --nonsense"] {
        assert!(said("", arguments).contains("\x1b["), "{arguments}: {:?}", said("", arguments));
        let plain = said("1", arguments);
        assert!(!plain.contains('\x1b') && plain.len() > 20, "{arguments}: {plain:?}");
    }
}

/// Where the model comes from is written beside it, and in its card.
#[test]
fn a_model_says_where_it_comes_from() {
    let home = corpus(60, "--tokenizer bytes");
    let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
    run(home.path(), &format!("train --data data --out run --preset small {SMALL} --steps 2")).has(0, &[]);
    let settings: toml::Table = read("run/config.toml").parse().unwrap();
    let data = settings["data"].as_str().unwrap().to_string();
    assert!(data.len() == 8 && data.bytes().all(|byte| byte.is_ascii_hexdigit()), "{data}");
    assert_eq!(settings["logwright"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(settings["preset"].as_str(), Some("small"));
    for folder in ["run/best", "run/last"] {
        let json =
            |name: &str| -> serde_json::Value { serde_json::from_str(&read(&format!("{folder}/{name}"))).unwrap() };
        let provenance = json("provenance.json");
        assert_eq!(provenance["data"], data);
        assert_eq!(provenance["preset"], "small");
        assert_eq!(provenance["commit"].as_str(), settings["commit"].as_str());
        assert_eq!(provenance["step"], 2);
        let (generation, tokenizer) = (json("generation_config.json"), json("tokenizer_config.json"));
        assert_eq!((&generation["max_length"], &tokenizer["model_max_length"]), (&48.into(), &48.into()));
        assert_eq!(generation["eos_token_id"], json("config.json")["eos_token_id"]);
        let card = read(&format!("{folder}/README.md"));
        for part in
            ["license: other", &data, "| preset | small |", "steps done | 2 of 2", "nats per token", "layers = 1"]
        {
            assert!(card.contains(part), "{part} is not in\n{card}");
        }
        assert!(!card.contains("{{") && !card.contains("corpus.jsonl"), "{card}");
    }
    // A run that resumes keeps its preset; its settings are settings of another run, too.
    run(home.path(), "train --data data --out run --resume --steps 4").has(0, &[]);
    assert!(read("run/config.toml").contains("preset = \"small\""));
    run(home.path(), "train --data data --out again --config run/config.toml").has(0, &[]);
    assert!(read("again/config.toml").contains("preset = \"small\""));
}
