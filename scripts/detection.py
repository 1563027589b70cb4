#!/usr/bin/env python3
"""Measures detection on the labelled logs of detection_sets.py: trains and scores with logwright, prints Markdown tables.

The first table shows the trivial baselines of each set, fitted on the records of the training alone. The second shows, with
several seeds, the best of them beside what the fields say (the evidence `fields` of each finding: surprisals under the model,
to which values never seen add theirs), and all evidence together (`score`), without and with `score --data`, with which the
records of the training count as seen. Every threshold is the conformal quantile of the records to calibrate.

Rates obtained stand with their 95 % intervals (Wilson). One is `off` if the asked rate lies outside of the interval, or,
where 20 false alarms or more are expected, if it differs from the asked one by more than a factor of 2. The last columns
compare the average precision of the score with that of the better single column, which is named: the difference, its 95 %
interval over resamples of the test records (a paired bootstrap, normal and odd records apart), and in how many seeds the
whole interval lies below 0. Where seeds differ, a cell holds the least and the largest number, and the ends of all intervals.
The third table counts what is found of each kind. For hdfs follows the best result that any detector can reach, since some
anomalous sessions equal normal ones.

Usage: detection.py [SET ...] [--logwright BINARY] [--seeds 1 2 3] [--work FOLDER] [options; see --help]
It needs Python 3.10 and no packages. With the defaults it trains 18 models, which takes about an hour on two CPU cores.
"""
import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import combinations
from pathlib import Path

import detection_sets

RATES = (0.001, 0.01)
STEPS = {"synth": 500, "azure": 300, "apache": 500, "windows": 400, "cloudtrail": 400, "hdfs": 300}


# ---- metrics ----
def auroc(odd, normals):
    normals = sorted(normals)
    return sum(bisect_left(normals, score) + bisect_right(normals, score) for score in odd) / (2 * len(odd) * len(normals))


def ranking(column):
    """Returns for each distinct score, the largest first, the places of the odd and of the normal records that have it."""
    places = {score: ([], []) for score in sorted({*column.odd, *column.normals}, reverse=True)}
    for side, scores in enumerate((column.odd, column.normals)):
        for place, score in enumerate(scores):
            places[score][side].append(place)
    return list(places.values())


def average_precision(ranked, odd_counts, normal_counts):
    """The counts say how often each record stands in the sample."""
    found = wrong = area = 0
    for odd, normals in ranked:
        more = sum(odd_counts[place] for place in odd)
        wrong += sum(normal_counts[place] for place in normals)
        found += more
        if more:
            area += more * found / (found + wrong)
    return area / sum(odd_counts)


def difference(one, other, resamples):
    """Returns how much larger the average precision of one column is than that of another, and its 95 % interval."""
    rng, ranked, found = random.Random(1), (ranking(one), ranking(other)), []

    def counts(size):
        drawn = Counter(rng.choices(range(size), k=size))
        return [drawn[place] for place in range(size)]

    for _ in range(resamples):
        drawn = counts(len(one.odd)), counts(len(one.normals))
        found.append(average_precision(ranked[0], *drawn) - average_precision(ranked[1], *drawn))
    found.sort()
    ends = found[round(0.025 * (resamples - 1))], found[round(0.975 * (resamples - 1))]
    return one.auprc - other.auprc, *ends


def allowed(count, rate):
    """The number of calibration scores that may lie at or above a threshold; with too few scores for the rate it is 1."""
    return max(1, math.floor((count + 1) * rate + 1e-9))


def wilson(count, total):
    """The 95 % score interval of a share (Wilson, 1927)."""
    z = 1.959964
    middle, half = count + z * z / 2, z * math.sqrt(count * (total - count) / total + z * z / 4)
    low, high = (middle - half) / (total + z * z), (middle + half) / (total + z * z)
    return (0.0 if count == 0 else low, 1.0 if count == total else high)


class Column:
    """The scores that one method gives the records of a test, with a threshold for each rate: larger scores are anomalies."""

    def __init__(self, name, normals, odd, limits):
        self.name, self.normals, self.odd, self.limits = name, normals, odd, limits
        self.auroc = auroc(odd, normals)
        self.auprc = average_precision(ranking(self), [1] * len(odd), [1] * len(normals))
        self.found = {rate: [score > limits[rate] for score in odd] for rate in RATES}
        self.false_alarms = {rate: sum(score > limits[rate] for score in normals) for rate in RATES}
        true, false = sum(self.found[0.01]), self.false_alarms[0.01]
        self.f1 = 2 * true / (true + false + len(odd))
        self.named_first, self.beside_best = None, None


# ---- baselines: the ideas of src/detect, without its bounds on memory ----
def views(log_set):
    """Returns (name, events of a line) for each way to see lines as events: path=value where values recur, else the path; for
    lines of text also the words, of which those with a digit are all the same."""
    recurring = detection_sets.recurring_paths(Counter(f for line in log_set.fit for f in detection_sets.fields(line)))
    event = lambda path, value: f"{path}={value}" if path in recurring else path
    of_fields = lambda line: [event(*leaf) for leaf in detection_sets.fields(line)]
    words = lambda line: ["<*>" if any(map(str.isdigit, word)) else word for word in line.split()]
    return [("", of_fields)] if log_set.fit[0].startswith("{") else [(" of fields", of_fields), (" of words", words)]


def distance(sessions):
    """Returns a score: the smallest L1 distance between the event counts and those of a normal record. The k-th occurrence of
    each event is one bit, so that the distance is the number of bits that differ."""
    bits = {}

    def vector(session, learns=False):
        mask, unknown, times = 0, 0, Counter()
        for event in session:
            times[event] += 1
            bit = bits.setdefault((event, times[event]), len(bits)) if learns else bits.get((event, times[event]))
            mask, unknown = (mask, unknown + 1) if bit is None else (mask | 1 << bit, unknown)
        return mask, unknown

    known = {vector(session, learns=True)[0] for session in sessions}

    def score(session):
        mask, unknown = vector(session)
        return 0 if mask in known and not unknown else unknown + min((mask ^ other).bit_count() for other in known)
    return score


def two_gram(sessions, alpha=0.1):
    """Returns a score: the largest surprisal of an event given the previous one, with begin and end marks."""
    marked = lambda session: ["begin", *session, "end"]
    pairs = Counter(pair for session in sessions for pair in zip(marked(session), marked(session)[1:]))
    firsts = Counter(first for first, _ in pairs.elements())
    size = len({event for session in sessions for event in session}) + 2
    surprisal = lambda pair: -math.log((pairs[pair] + alpha) / (firsts[pair[0]] + alpha * size))
    return lambda session: max(map(surprisal, zip(marked(session), marked(session)[1:])))


def unseen_pairs(sessions):
    """Returns a score: how often pairs of the events should have been seen together, summed over those that never were."""
    counts = Counter(event for session in sessions for event in set(session))
    seen = {pair for session in sessions for pair in combinations(sorted(set(session)), 2)}
    expected = lambda pair: counts[pair[0]] * counts[pair[1]] / len(sessions)
    return lambda session: sum(expected(pair) for pair in combinations(sorted(set(session)), 2) if pair not in seen)


def baselines(log_set):
    """Returns the columns of the trivial baselines, fitted on the records of the training alone."""
    columns = []
    for view, events in views(log_set):
        parts = log_set.fit, log_set.cal, log_set.normals, [odd.line for odd in log_set.odd]
        fit, cal, normals, odd = ([events(line) for line in lines] for lines in parts)
        known = {event for session in fit for event in session}
        vectors = {tuple(sorted(session)) for session in fit}
        scores = [("unseen values", lambda session: len(set(session) - known)),
                  ("unseen count vector", lambda session: int(tuple(sorted(session)) not in vectors)),
                  ("unseen pairs", unseen_pairs(fit)), ("distance", distance(fit)), ("2-gram", two_gram(fit))]
        for name, score in scores:
            usual = sorted(map(score, cal))
            limits = {rate: usual[-allowed(len(usual), rate)] for rate in RATES}
            columns.append(Column(name + view, list(map(score, normals)), list(map(score, odd)), limits))
    return columns


# ---- the program ----
class Program:
    def __init__(self, args, work):
        self.binary, self.work, self.threads = args.logwright, work, args.threads

    def __call__(self, *words):
        command = [str(word) for word in (self.binary, "--quiet", *words)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"detection.py: `{' '.join(command)}` failed with exit code {done.returncode}")
        return done.stdout

    def train(self, log_set, seed):
        """Returns a run folder. It reuses a run that an earlier call finished."""
        data, run = self.work / f"{log_set.name}.data", self.work / f"{log_set.name}.run{seed}"
        if not data.exists():
            tokenizer = "bytes" if log_set.name == "hdfs" else "bpe"
            self("prepare", self.work / f"{log_set.name}.fit", "--out", data, "--tokenizer", tokenizer, "--split", "random")
        if not (run / "finished").exists():
            shutil.rmtree(run, ignore_errors=True)
            self("train", "--data", data, "--out", run, "--seed", seed, "--preset", "tiny", "--steps", STEPS[log_set.name],
                 *self.threads)
            (run / "finished").touch()
        return run

    def score(self, log_set, seed, with_data):
        """Returns the findings of the test and the calibration. It reuses those that an earlier call left."""
        name = f"{log_set.name}.findings{seed}{'-data' if with_data else ''}"
        findings, calibration = self.work / f"{name}.jsonl", self.work / f"{name}.calibration.json"
        if not findings.exists():
            run, part = self.train(log_set, seed), lambda end: self.work / f"{log_set.name}.{end}"
            data = ["--data", part("data")] if with_data else []
            lines = self("score", "--model", run, "--calibrate", part("cal"), "--fpr", RATES[-1], "--batch", 8,
                         "--top-fields", 1, *self.threads, *data, part("test"))
            shutil.move(run / "calibration.json", calibration)
            findings.write_text(lines)
        found = [line for line in map(json.loads, findings.read_text().splitlines()) if "record" in line]
        if len(found) != len(log_set.normals) + len(log_set.odd):
            sys.exit(f"detection.py: {findings}: found {len(found)} findings, expected one for each record of the test")
        return found, json.loads(calibration.read_text())


def limit(ranks, rate, as_evidence):
    """The threshold for a rate from the ranks of a calibration, which are pairs of a score and the number of those at least as
    large: as a score, or as its evidence, minus the logarithm of its p-value."""
    count = ranks["steps"][0][1]
    score, at_least = max(step for step in ranks["steps"] if step[1] >= allowed(count, rate))
    # Evidence is printed with four digits.
    return math.log((count + 1) / (at_least + 1)) + 1e-4 if as_evidence else score


def model_columns(program, log_set, seed, with_data):
    """Returns the columns of the fields alone and of the whole score."""
    findings, calibration = program.score(log_set, seed, with_data)
    end, columns, middle = " with --data" if with_data else "", [], len(log_set.normals)
    sources = [("fields", calibration["normal"]["fields"], lambda finding: finding["evidence"].get("fields", 0.0)),
               ("together", calibration["scores"], lambda finding: finding["score"])]
    for name, ranks, score in sources:
        # A record that cannot be scored is as odd as can be.
        scores = [math.inf if finding.get("score") is None else score(finding) for finding in findings]
        limits = {rate: limit(ranks, rate, as_evidence=name == "fields") for rate in RATES}
        columns.append(Column(name + end, scores[:middle], scores[middle:], limits))
    first = [finding["fields"][0]["path"] if finding.get("fields") else None for finding in findings[middle:]]
    columns[1].named_first = [path in odd.paths for path, odd in zip(first, log_set.odd) if odd.paths is not None]
    return columns


# ---- tables ----
def number(value, digits=3):
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def span(values, digits=3):
    """The least and the largest number, or the one that all are."""
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"


def rate_cell(columns, rate):
    """The rate obtained, the widest interval of all seeds, and in how many of them the rate is off."""
    total, counts = len(columns[0].normals), [column.false_alarms[rate] for column in columns]
    intervals, off = [wilson(count, total) for count in counts], 0
    for count, (low, high) in zip(counts, intervals):
        holds = rate / 2 <= count / total <= 2 * rate if rate * total >= 20 else low <= rate <= high
        off += not holds
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    note = (", off" if off == len(columns) else f", off in {off} of {len(columns)}") if off else ""
    return f"{span([count / total for count in counts], 4)} ({number(low, 4)}, {number(high, 4)}){note}"


def share_cell(flags_of_seeds):
    """How many flags are set, of each seed, and of how many."""
    counts = [sum(flags) for flags in flags_of_seeds]
    return f"{span(counts, 0)} of {len(flags_of_seeds[0])}" if flags_of_seeds[0] else "-"


HEAD = ("| set | column | AUROC | AUPRC | recall at .001 | rate obtained | recall at .01 | rate obtained | F1 at .01 "
        "| named first | new values found at .001 | where values recur | AUPRC less the best single column | below it |\n"
        + "|---" * 14 + "|")


def print_row(log_set, columns):
    """Prints a row of the table: a method with one seed or several."""
    of = lambda value: [value(column) for column in columns]
    cells = [log_set.name, columns[0].name, span(of(lambda c: c.auroc)), span(of(lambda c: c.auprc))]
    for rate in RATES:
        cells += [span(of(lambda c: sum(c.found[rate]) / len(c.odd))), rate_cell(columns, rate)]
    cells.append(span(of(lambda c: c.f1)))
    cells.append(share_cell(of(lambda c: c.named_first)) if columns[0].named_first else "-")
    for is_new in (lambda odd: odd.is_new, lambda odd: odd.is_new_where_values_recur):
        cells.append(share_cell(of(lambda c: [flag for flag, odd in zip(c.found[0.001], log_set.odd) if is_new(odd)])))
    beside = of(lambda c: c.beside_best)
    if beside[0] is None:
        cells += ["-", "-"]
    else:
        middles, lows, highs, names = zip(*beside)
        cells += [f"{span(middles)} ({number(min(lows))}, {number(max(highs))}), {' or '.join(sorted(set(names)))}",
                  f"{sum(high < 0 for high in highs)} of {len(beside)}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def print_kinds(log_set, by_name):
    """Prints for each kind of oddity what is found with all seeds together."""
    places = {}
    for place, odd in enumerate(log_set.odd):
        places.setdefault(odd.kind, []).append(place)
    for kind, of_kind in places.items():
        cells = [log_set.name, kind, str(len(of_kind) * len(next(iter(by_name.values()))))]
        for columns in by_name.values():
            cells += [str(sum(column.found[rate][place] for column in columns for place in of_kind)) for rate in RATES]
        for columns in by_name.values():
            if columns[0].named_first is not None:
                named = [flag for column in columns for place in of_kind for flag in column.named_first[place:place + 1]]
                cells.append(str(sum(named)) if named else "-")
        print("| " + " | ".join(cells) + " |", flush=True)


def measure(program, log_set, args, trivial):
    """Prints the rows of a set and returns its columns by name, one for each seed."""
    best = max(trivial, key=lambda column: column.auprc)
    print_row(log_set, [best])
    by_name = {}
    for with_data in (False, True):
        for seed in args.seeds:
            fields, together = model_columns(program, log_set, seed, with_data)
            single = max(best, fields, key=lambda column: column.auprc)
            together.beside_best = (*difference(together, single, args.resamples), single.name.removesuffix(" with --data"))
            for column in (fields, together):
                by_name.setdefault(column.name, []).append(column)
    for columns in by_name.values():
        print_row(log_set, columns)
    return by_name


def print_ceiling(data):
    """Prints the best result on hdfs of a detector that sees only the events."""
    sessions = detection_sets.hdfs_sessions(data)
    fit, attacks, normals = sessions("train", 0), sessions("test", 1), sessions("test", 0)
    seen, tests, groups = (Counter(map(tuple, group)) for group in (fit, normals, attacks))
    familiar = [session for session in map(tuple, attacks) if session in seen]
    new = len(attacks) - len(familiar)
    print(f"\nhdfs: {len(familiar)} of the {len(attacks)} anomalous test sessions equal normal training sessions, event for "
          f"event ({min(seen[s] for s in familiar)} to {max(seen[s] for s in familiar)} times). If all others are found "
          f"without a false alarm, recall is {number(new / len(attacks))} and F1 {number(2 * new / (len(attacks) + new))}.")
    found, wrong, best = 0, 0, 0.0
    for session in sorted(groups, key=lambda s: tests[s] / groups[s]):
        found, wrong = found + groups[session], wrong + tests[session]
        best = max(best, 2 * found / (len(attacks) + found + wrong))
    print(f"An oracle that knows the test labels, but must treat equal sessions alike, has an F1 of {number(best)}.")


def arguments():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(detection_sets.NAMES)} [default: all]")
    parser.add_argument("--logwright", default=root / "target/release/logwright", help="path of the logwright binary")
    parser.add_argument("--data", type=Path, default=root.parent / "shared/data",
                        help="folder that contains " + ", ".join(detection_sets.FOLDERS) + " [default: ../shared/data]")
    parser.add_argument("--work", type=Path, help="folder for data, runs and findings, kept and reused; to score with another "
                        "binary, delete SET.findings* in it [default: a temporary one]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=lambda n: ["--threads", str(int(n))], default=[], help="of logwright [default: all]")
    parser.add_argument("--resamples", type=int, default=1000, help="of each interval of a difference [default: 1000]")
    args = parser.parse_args()
    args.sets = args.sets or detection_sets.NAMES
    if unknown := set(args.sets) - set(detection_sets.NAMES):
        parser.error(f"SET {min(unknown)}: expected one of {', '.join(detection_sets.NAMES)}")
    if not Path(args.logwright).is_file():
        parser.error(f"--logwright {args.logwright}: no such file; build it with cargo build --release")
    for folder in detection_sets.FOLDERS:
        if not (args.data / folder).is_dir():
            parser.error(f"--data {args.data}: expected a folder {folder} in it, found none")
    return args


def run(args, work):
    program = Program(args, work)
    made = detection_sets.make(program, args.data, work)
    log_sets = [made[name] for name in args.sets]
    for log_set in log_sets:
        log_set.write(work)
        print(f"{log_set.name}: {len(log_set.fit)} records to fit, {len(log_set.cal)} to calibrate, "
              f"{len(log_set.normals)} normal and {len(log_set.odd)} odd ones to test")
    print("\n" + HEAD)
    trivial = {log_set.name: baselines(log_set) for log_set in log_sets}
    for log_set in log_sets:
        for column in trivial[log_set.name]:
            print_row(log_set, [column])
    print("\n" + HEAD)
    by_set = [(log_set, measure(program, log_set, args, trivial[log_set.name])) for log_set in log_sets]
    names = list(by_set[0][1])
    print("\n| set | kind | odd records of all seeds | " + " | ".join(f"{name}: found at .001 | at .01" for name in names)
          + " | named first | with --data |\n" + "|---" * (5 + 2 * len(names)) + "|")
    for log_set, by_name in by_set:
        print_kinds(log_set, by_name)
    if "hdfs" in args.sets:
        print_ceiling(args.data)


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        run(args, work)


if __name__ == "__main__":
    main()
