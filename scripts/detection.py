#!/usr/bin/env python3
"""Measures detection on labelled real and synthetic logs: trains and scores with logwright, prints Markdown tables.

  hdfs    Sessions of HDFS_v1 (deep-loglizer's split). Everything is fitted on normal training sessions only. The tables
          show the model with several seeds beside the baselines, and the best result that any detector can reach, since
          some anomalous sessions equal normal ones.
  synth   The built-in log source, split by time and fitted on its normal records. The tables show the model beside the
          baselines, with one row for each kind of attack.
  azure   Azure AD sign-ins. One user at a time is left out of training, and his records are ranked among held-out
          records of other users.

Usage: detection.py hdfs|synth|azure [--logwright BINARY] [--seeds 1 2 3] [--work FOLDER] [options; see --help]
It needs Python 3.9 and no packages. With the defaults and two CPU cores, hdfs takes minutes and the others tens of minutes.
The metrics are a second implementation of those in src/detect, without the distance of count vectors.
"""
import argparse
import gzip
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from pathlib import Path


# ---- metrics: as src/detect/metrics.rs and evaluate.rs define them ----
def auroc(attacks, normals):
    normals = sorted(normals)
    below = sum(bisect_left(normals, score) + bisect_right(normals, score) for score in attacks)
    return below / (2 * len(attacks) * len(normals)) if attacks and normals else math.nan


def average_precision(attacks, normals):
    hits, misses, area, before = Counter(attacks), Counter(normals), 0.0, 0
    found = wrong = 0
    for score in sorted(set(attacks) | set(normals), reverse=True):
        found, wrong = found + hits[score], wrong + misses[score]
        area += (found - before) * found / (found + wrong)
        before = found
    return area / len(attacks) if attacks else math.nan


def threshold(normals, rate):
    """The conformal quantile: a score above it is an anomaly."""
    rank = len(normals) + 1 - math.floor((len(normals) + 1) * rate + 1e-9)
    return sorted(normals)[min(rank, len(normals)) - 1]


def best_f1(attacks, normals):
    normals, attacks = sorted(normals), sorted(attacks)
    found = lambda limit: (len(attacks) - bisect_left(attacks, limit), len(normals) - bisect_left(normals, limit))
    return max((2 * tp / (tp + fp + len(attacks)) for tp, fp in map(found, set(attacks))), default=math.nan)


HEAD = "| {} | TP / FP / FN / TN | precision | recall | F1 | AUROC | AUPRC | best F1 |\n" + "|---" * 8 + "|"


def row(name, attacks, normals, limit):
    """Prints a row of the table and returns its F1. `attacks` and `normals` are scores; above `limit` they are anomalies."""
    tp, fp = sum(score > limit for score in attacks), sum(score > limit for score in normals)
    share = lambda part, whole: part / whole if whole else math.nan
    f1 = share(2 * tp, tp + fp + len(attacks))
    numbers = [share(tp, tp + fp), share(tp, len(attacks)), f1, auroc(attacks, normals),
               average_precision(attacks, normals), best_f1(attacks, normals)]
    cells = " | ".join("-" if math.isnan(number) else f"{number:.3f}" for number in numbers)
    print(f"| {name} | {tp} / {fp} / {len(attacks) - tp} / {len(normals) - fp} | {cells} |", flush=True)
    return f1


# ---- the binary ----
class Program:
    def __init__(self, binary):
        self.binary = binary

    def __call__(self, *words):
        command = [str(word) for word in (self.binary, *words)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"detection.py: `{' '.join(command)}` failed with exit code {done.returncode}")
        return done.stdout

    def train(self, records, out, tokenizer, flags, seed):
        """Returns a run folder. It reuses a run that an earlier call finished, even if that call had other flags."""
        data, run = Path(f"{out}.data"), Path(f"{out}.run{seed}")
        if not data.exists():
            self("--quiet", "prepare", records, "--out", data, "--tokenizer", tokenizer, "--split", "random")
        if not (run / "finished").exists():
            shutil.rmtree(run, ignore_errors=True)
            self("--quiet", "train", "--data", data, "--out", run, "--seed", seed, *flags)
            (run / "finished").touch()
        return run

    def calibrate(self, run, normal, rate, flags):
        """Returns the threshold that `score` learns from normal records; the run folder keeps the calibration."""
        self("--quiet", "score", "--model", run, "--calibrate", normal, "--fpr", rate, *flags)
        return json.loads((run / "calibration.json").read_text())["threshold"]

    def scores(self, run, records, flags):
        """Returns the score of each record; a record that cannot be scored counts as infinitely anomalous."""
        lines = self("--quiet", "score", "--model", run, records, *flags).splitlines()
        return [math.inf if found.get("score") is None else found["score"] for found in map(json.loads, lines)]


def write(path, records):
    path.write_text("".join(record + "\n" for record in records))
    return path


def spread(values):
    mean = sum(values) / len(values)
    return f"{mean:.3f} +- {math.sqrt(sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)):.3f}"


# ---- baselines: as src/detect/baselines.rs and events.rs define them ----
def two_gram(sessions, alpha=0.1):
    """Returns a score: the largest surprisal of an event given the previous one, with begin and end marks."""
    marked = lambda session: ["begin", *session, "end"]
    pairs = Counter(pair for session in sessions for pair in zip(marked(session), marked(session)[1:]))
    firsts = Counter(first for first, _ in pairs.elements())
    size = len({event for session in sessions for event in session}) + 2
    surprisal = lambda pair: -math.log((pairs[pair] + alpha) / (firsts[pair[0]] + alpha * size))
    return lambda session: max(map(surprisal, zip(marked(session), marked(session)[1:])))


def baselines(sessions):
    """Returns (name, score of a session) for each baseline, fitted on normal sessions, which are lists of events."""
    known, vectors = {e for s in sessions for e in s}, {tuple(sorted(s)) for s in sessions}
    return [("unseen events", lambda s: len(set(s) - known)),
            ("unseen count vector", lambda s: int(tuple(sorted(s)) not in vectors)),
            ("2-gram maximum surprisal", two_gram(sessions))]


def leaves(value, path=""):
    members = value.items() if isinstance(value, dict) else [("*", x) for x in value] if isinstance(value, list) else []
    for name, member in members:
        yield from leaves(member, f"{path}.{name}" if path else name)
    if not members:
        yield path, json.dumps(value)


def events_of(normal):
    """Returns a function from a record to its events: path=value if the field's values mostly recur, else the path."""
    values = defaultdict(Counter)
    for record in normal:
        for path, value in leaves(json.loads(record)):
            values[path][value] += 1
    once = lambda counts: sum(count == 1 for count in counts.values())
    categorical = {path for path, counts in values.items() if once(counts) <= 0.05 * sum(counts.values())}
    event = lambda path, value: f"{path}={value}" if path in categorical else path
    return lambda record: [event(*leaf) for leaf in leaves(json.loads(record))]


# ---- HDFS sessions ----
def hdfs(program, args, work):
    with gzip.open(args.data / "hdfs-sessions" / "hdfs100k_sessions.jsonl.gz", "rt") as file:
        sessions = [json.loads(line) for line in file]
    events = lambda split, label: [s["events"] for s in sessions if (s["split"], s["label"]) == (split, label)]
    fit, attacks, normals = events("train", 0), events("test", 1), events("test", 0)
    print(f"{len(fit)} normal sessions to fit; {len(attacks)} anomalous and {len(normals)} normal sessions to test")
    print(HEAD.format(f"method, threshold for a false-positive rate of {args.fpr}"))
    for name, score in baselines(fit):
        of = lambda group: [score(session) for session in group]
        row(name, of(attacks), of(normals), threshold(of(fit), args.fpr))
    # Each event is one letter. With bytes as tokens the model knows every event, even one that training never saw.
    letters = lambda group: ["".join(chr(ord("a") + event) for event in session) for session in group]
    random.Random(0).shuffle(fit)
    files = [write(work / f"hdfs.{name}", letters(group))
             for name, group in (("fit", fit), ("attacks", attacks), ("normals", normals))]
    shape = "--preset tiny --layers 2 --heads 4 --channels 64 --context 64 --batch 16 --steps 600 --learning-rate 2e-3"
    found = []
    for seed in args.seeds:
        run = program.train(files[0], work / "hdfs", "bytes", shape.split(), seed)
        limit = program.calibrate(run, files[0], args.fpr, args.score)
        high, low = (program.scores(run, file, args.score) for file in files[1:])
        found.append(row(f"model, seed {seed}", high, low, limit))
    print(f"\nModel: F1 {spread(found)} over {len(found)} seeds\n")
    ceiling(fit, attacks, normals)


def ceiling(fit, attacks, normals):
    """Prints the best result that a detector can reach if it sees only the events."""
    seen, tests = Counter(map(tuple, fit)), Counter(map(tuple, normals))
    familiar = [session for session in map(tuple, attacks) if session in seen]
    new = len(attacks) - len(familiar)
    print(f"{len(familiar)} of the {len(attacks)} anomalous test sessions equal normal training sessions, event for event "
          f"({min(seen[s] for s in familiar)} to {max(seen[s] for s in familiar)} times); "
          f"if all others are found without a false positive, F1 is {2 * new / (len(attacks) + new):.3f}")
    found, wrong, best = 0, 0, 0.0
    groups = Counter(map(tuple, attacks))
    for session in sorted(groups, key=lambda s: tests[s] / groups[s]):
        found, wrong = found + groups[session], wrong + tests[session]
        best = max(best, 2 * found / (len(attacks) + found + wrong))
    print(f"An oracle that knows the test labels, but must treat equal sessions alike, has an F1 of {best:.3f}")


# ---- the built-in log source ----
def synth(program, args, work):
    made = program("synth", "-n", args.records, "--seed", 1, "--attacks", 0.05, "--labels", work / "synth.labels")
    records = made.splitlines()
    kinds = [json.loads(line)["attack"] for line in (work / "synth.labels").read_text().splitlines()]
    assert len(kinds) == len(records)
    fit_end, test_begin = int(0.6 * len(records)), int(0.75 * len(records))
    normal = lambda begin, end: [records[i] for i in range(begin, end) if kinds[i] is None]
    fit, calibrate, test = normal(0, fit_end), normal(fit_end, test_begin), records[test_begin:]
    print(f"{len(fit)} normal records to fit, {len(calibrate)} to calibrate, {len(test)} later ones to test")
    print(HEAD.format(f"method, threshold for a false-positive rate of {args.fpr}: attack"))
    events = events_of(fit)
    for name, score in baselines([events(record) for record in fit]):
        of = lambda group: [score(events(record)) for record in group]
        rows_by_kind(name, of(test), kinds[test_begin:], threshold(of(calibrate), args.fpr))
    files = [write(work / f"synth.{name}", group)
             for name, group in (("fit", fit), ("calibrate", calibrate), ("test", test))]
    for seed in args.seeds:
        run = program.train(files[0], work / "synth", "bpe", args.train, seed)
        limit = program.calibrate(run, files[1], args.fpr, args.score)
        rows_by_kind(f"model, seed {seed}", program.scores(run, files[2], args.score), kinds[test_begin:], limit)


def rows_by_kind(name, scores, kinds, limit):
    """Prints a row for each kind of attack, against all normal records, and one row for all attacks."""
    of = lambda wanted: [score for score, kind in zip(scores, kinds) if wanted(kind)]
    normals = of(lambda kind: kind is None)
    for attack in sorted(set(kinds) - {None}):
        row(f"{name}: {attack}", of(lambda kind: kind == attack), normals, limit)
    row(f"{name}: all", of(lambda kind: kind is not None), normals, limit)


# ---- Azure AD, one user at a time ----
def azure(program, args, work):
    lines = (args.data / "azure-ad" / "azure_ad.jsonl").read_text().splitlines()
    user = lambda line: json.loads(line)["properties"]["userDisplayName"]
    counts = Counter(map(user, lines))
    for name in args.users:
        if name not in counts:
            sys.exit(f"detection.py: --users {name}: found no record with this properties.userDisplayName")
    print("| user left out | records | AUROC against held-out records of others | among the ten most anomalous | best F1 |")
    print("|---|---|---|---|---|")
    for at, name in enumerate(args.users):
        others = [line for line in lines if user(line) != name]
        random.Random(1).shuffle(others)
        held = len(others) // 4
        # Half of the held-out records calibrate (each field's usual surprisal), half are ranked with the user's.
        parts = (("fit", others[2 * held:]), ("calibrate", others[:held]), ("normals", others[held:2 * held]),
                 ("user", [line for line in lines if user(line) == name]))
        files = {part: write(work / f"azure{at}.{part}", group) for part, group in parts}
        for seed in args.seeds:
            run = program.train(files["fit"], work / f"azure{at}", "bpe", args.train, seed)
            program.calibrate(run, files["calibrate"], args.fpr, args.score)
            his, theirs = (program.scores(run, files[part], args.score) for part in ("user", "normals"))
            oddest = sorted([(s, True) for s in his] + [(s, False) for s in theirs], reverse=True)[:10]
            print(f"| {name}, seed {seed} | {len(his)} | {auroc(his, theirs):.3f} (n = {len(theirs)}) | "
                  f"{sum(own for _, own in oddest)} | {best_f1(his, theirs):.3f} |", flush=True)


def arguments():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["hdfs", "synth", "azure"])
    parser.add_argument("--logwright", default=root / "target/release/logwright", help="path of the logwright binary")
    parser.add_argument("--data", type=Path, default=root.parent / "shared/data",
                        help="folder that contains hdfs-sessions and azure-ad [default: ../shared/data]")
    parser.add_argument("--work", type=Path, help="folder for data and runs, kept and reused [default: a temporary one]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--fpr", type=float, help="false-positive rate of thresholds [default: 0.001 for hdfs, else 0.01]")
    parser.add_argument("--train", type=str.split, help="flags of train as one argument [default: preset tiny, fewer steps]",
                        default="--preset tiny --steps 600".split())
    parser.add_argument("--score", type=str.split, help="flags of score as one argument [default for hdfs: --aggregate max]")
    parser.add_argument("--records", type=int, default=8000, help="number of records of synth")
    parser.add_argument("--users", nargs="+", default=["Attack Target", "Thomas Price", "Cynthia Perry", "Aaron Cole"],
                        help="users of azure; several serve for comparison: any left-out user is anomalous by name alone")
    args = parser.parse_args()
    if args.fpr is None:
        args.fpr = 0.001 if args.what == "hdfs" else 0.01
    if not 0 < args.fpr < 1:
        parser.error(f"--fpr {args.fpr}: expected a fraction between 0 and 1")
    if not Path(args.logwright).is_file():
        parser.error(f"--logwright {args.logwright}: no such file; build it with cargo build --release")
    wanted = {"hdfs": "hdfs-sessions", "azure": "azure-ad"}.get(args.what)
    if wanted and not (args.data / wanted).is_dir():
        parser.error(f"--data {args.data}: expected a folder {wanted} in it, found none")
    args.score = args.score or (["--aggregate", "max"] if args.what == "hdfs" else [])
    return args


def main():
    args = arguments()
    commands = {"hdfs": hdfs, "synth": synth, "azure": azure}
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        commands[args.what](Program(args.logwright), args, work)


if __name__ == "__main__":
    main()
