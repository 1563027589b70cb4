//! Examples at the end of each help. A test runs them all, in this order, in one folder with logs and a model.

use super::aliases::change;
use clap::Command;

/// A command, and its examples.
const EXAMPLES: [(&str, &[&str]); 26] = [
    (
        "",
        &[
            "logwright prepare logs.jsonl --out data",
            "logwright train --data data --out run",
            "logwright score --model run --calibrate normal.jsonl",
            "logwright score --model run today.jsonl --only-anomalies",
        ],
    ),
    (
        "prepare",
        &[
            "logwright prepare logs.jsonl normal.jsonl -o more --tokenizer bytes",
            "logwright prepare today.jsonl --tokenizer-from run -o week2",
            "logwright prepare logs.jsonl --pseudonymise --key-file key --dry-run",
            "logwright prepare logs.jsonl --pseudonymise --key-file key -o private --write-records shareable.jsonl",
        ],
    ),
    (
        "merge",
        &[
            "logwright prepare logs.jsonl --part 1/2 -o part1",
            "logwright prepare logs.jsonl --part 2/2 -o part2",
            "logwright merge part1 part2 -o merged",
        ],
    ),
    (
        "train",
        &[
            "logwright train --data data -o run1 --preset tiny --steps 300",
            "logwright train --data data -o run1 --resume",
            "logwright train --data week2 --init-from run --replay data -o run2 --lr 1e-4",
        ],
    ),
    (
        "generate",
        &[
            "logwright generate -m run -n 100 > synthetic.jsonl",
            "logwright generate -m run -n 20 --schema learned --format jsonl > synthetic.jsonl",
        ],
    ),
    (
        "evaluate",
        &[
            "logwright evaluate -m run --data data",
            "logwright evaluate -m run --data data --generated synthetic.jsonl --report report",
            "logwright evaluate -m run --data data --labelled today.jsonl --labels labels.jsonl --report report",
        ],
    ),
    (
        "score",
        &[
            "logwright score -m run --calibrate normal.jsonl --fpr 0.01",
            "tail -F today.jsonl | logwright score -m run --only-anomalies --with-record",
            "logwright score -m run today.jsonl --explain-html odd.html",
            "logwright score -m run today.jsonl --alerts-per-day 10",
        ],
    ),
    (
        "serve",
        &[
            "logwright serve --model run",
            "logwright serve -m run --listen 0.0.0.0:8443 --token-file tokens --tls-cert tls.crt --tls-key tls.key",
        ],
    ),
    (
        "known-good add",
        &[
            "logwright score -m run today.jsonl --only-anomalies > findings.jsonl",
            "head -n 1 findings.jsonl | logwright known-good add -m run --scope field --reason 'new office'",
            "logwright known-good add -m run --path location --value AU --reason 'new office'",
        ],
    ),
    ("known-good list", &["logwright known-good list -m run"]),
    ("known-good remove", &["logwright known-good remove -m run 0e1ca605"]),
    ("known-bad add", &["logwright known-bad add -m run --path location --value AQ --reason 'nobody works there'"]),
    ("known-bad list", &["logwright known-bad list -m run"]),
    ("known-bad remove", &["logwright known-bad remove -m run 9f784fa3"]),
    ("pseudonyms", &["logwright pseudonyms --undo --key-file key --of private shareable.jsonl > restored.jsonl"]),
    ("demo", &["logwright demo", "logwright demo --out small --records 2000 --steps 100 --samples 20"]),
    ("synth", &["logwright synth -n 1000 --attacks 0.05 --labels attack-labels.jsonl > attacks.jsonl"]),
    ("bench", &["logwright bench --roofline --gpu a100"]),
    (
        "bench train",
        &[
            "logwright bench train --layers 6 --heads 6 --channels 384",
            "logwright bench train --device cuda --layers 12 --heads 12 --channels 768 --context 2048",
        ],
    ),
    ("bench generate", &["logwright bench generate --layers 6 --heads 6 --channels 384 --batch 1"]),
    ("bench kernels", &["logwright bench kernels --device cuda --context 2048 --batch 24"]),
    ("doctor", &["logwright doctor", "logwright doctor --json"]),
    ("completions", &["logwright completions bash > logwright.bash"]),
    ("man", &["logwright man > logwright.1", "logwright man train > logwright-train.1"]),
    ("known-good", &["logwright known-good list -m run"]),
    ("known-bad", &["logwright known-bad list -m run"]),
];

pub fn add(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, lines)| {
        let text: String = lines.iter().map(|line| format!("\n  {line}")).collect();
        change(command, path, &|inner| inner.after_help(format!("Examples:{text}")))
    })
}
