//! Short flags, and the names under which people know flags from other programs.

use clap::Command;

/// A command, one of its arguments, and a letter for it.
const SHORT: [(&str, &str, char); 14] = [
    ("prepare", "out", 'o'),
    ("merge", "out", 'o'),
    ("train", "out", 'o'),
    ("demo", "out", 'o'),
    ("generate", "model", 'm'),
    ("evaluate", "model", 'm'),
    ("score", "model", 'm'),
    ("known-good add", "model", 'm'),
    ("known-good list", "model", 'm'),
    ("known-good remove", "model", 'm'),
    ("known-bad add", "model", 'm'),
    ("known-bad list", "model", 'm'),
    ("known-bad remove", "model", 'm'),
    ("train", "config", 'c'),
];

/// A command, one of its arguments, and the name that nanoGPT, transformers or scikit-learn has for it.
const NAMES: [(&str, &str, &str); 14] = [
    ("train", "layers", "n-layer"),
    ("train", "heads", "n-head"),
    ("train", "channels", "n-embd"),
    ("train", "context", "block-size"),
    ("train", "batch", "batch-size"),
    ("train", "accumulation", "gradient-accumulation-steps"),
    ("train", "steps", "max-iters"),
    ("train", "learning_rate", "lr"),
    ("train", "min_learning_rate", "min-lr"),
    ("train", "warmup", "warmup-iters"),
    ("train", "eval_every", "eval-interval"),
    ("generate", "n", "num-samples"),
    ("generate", "max_tokens", "max-new-tokens"),
    ("score", "explain_html", "html"),
];

pub fn add(command: Command) -> Command {
    let command = SHORT.iter().fold(command, |command, &(path, argument, letter)| {
        change(command, path, &|inner| inner.mut_arg(argument, |argument| argument.short(letter)))
    });
    NAMES.iter().fold(command, |command, &(path, argument, name)| {
        change(command, path, &|inner| inner.mut_arg(argument, |argument| argument.visible_alias(name)))
    })
}

/// Changes the command at a path such as `known-good add`; the empty path is the program itself.
pub fn change(command: Command, path: &str, to: &dyn Fn(Command) -> Command) -> Command {
    match path.split_once(' ') {
        None if path.is_empty() => to(command),
        None => command.mut_subcommand(path, to),
        Some((first, rest)) => command.mut_subcommand(first, |inner| change(inner, rest, to)),
    }
}
