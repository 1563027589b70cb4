#!/usr/bin/env python3
"""Compares pre-tokenizations: how should a log be split before byte-level BPE merges it?

The script trains each candidate on the first 90 % of the records of each corpus and measures it on the rest:

  tokens/record   at each vocabulary size; the newline that ends a record is not counted
  intact          the percentage of identifiers (UUIDs, IPv4 addresses, ISO times, numbers) whose border no token crosses
  (n)             in brackets: the number of different token counts that a UUID takes (1 is best: the model can count)

logwright uses the winner, "json+ids 2" (src/tokens). It has whole classes of pairs in the vocabulary, or none, and gives
identifiers that recur tokens of their own. `cargo test --release --lib tokens::study -- --ignored --nocapture` prints its
rows.

Usage: pretokenization_study.py DATA_FOLDER [--vocab 512 1024 2048 4096] [--only CANDIDATE ...]
It needs tokenizers (scripts/requirements.txt).
"""
import argparse
import gzip
import json
import re
import time
from collections import Counter
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# ---- the parts of the log-aware patterns (src/tokens uses the winner) ----
HEX = "[0-9a-fA-F]"
UUID = HEX + "{8}-" + HEX + "{4}-" + HEX + "{4}-" + HEX + "{4}-" + HEX + "{12}"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
NUMBERS = r"[0-9]+(?:[.:][0-9]+){2,}|[0-9]+\.[0-9]{3,}|[0-9]{3,}"  # IPs, clock times, coordinates, counts
NUMBERS1 = r"[0-9]+(?:[.:][0-9]+)*"  # the same, from one digit on
HASH = "[0-9a-f]{16,}|[0-9A-F]{16,}"
MIXED = "[A-Za-z]*[0-9]+[A-Za-z]+[0-9]+[A-Za-z0-9]*"  # keys, tokens, hashes: letters and digits alternate
JUNCTION = r"[\]},{\[ ]*"
JSON = rf'"?{JUNCTION}(?:"[A-Za-z0-9_.@$/ -]+": ?{JUNCTION}(?:(?:true|false|null|""){JUNCTION})?)+"?|"[\]}}]+'
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def chunk(whole: str, piece: str):
    """Splits a string that `whole` matches completely into pieces, aligned with its start."""
    return rf"(?:\A(?=(?:{whole})\z)|(?!\A)\G)(?:{piece})"


def ids(numbers=NUMBERS):
    return rf"{UUID}|{TIME}|{HASH}|{MIXED}|{numbers}"


def hexes(n, numbers=NUMBERS):
    return chunk(f"{UUID}|{HASH}|{TIME}|{numbers}", f"{HEX}{{1,{n}}}|[^0-9a-fA-F]")


CANDIDATES = {
    "GPT-2 words": [GPT2],
    "none": [],
    "digits": ["[0-9]"],
    "digit pairs": ["[0-9]{1,2}"],
    "ids whole": [ids()],
    "ids 1": [ids(), hexes(1), chunk(MIXED, ".")],
    "ids 2": [ids(), hexes(2), chunk(MIXED, ".")],
    "ids 2 all numbers": [ids(NUMBERS1), hexes(2, NUMBERS1), chunk(MIXED, ".")],
    "json+ids 1": [f"{JSON}|{ids()}", hexes(1), chunk(MIXED, ".")],
    "json+ids 2": [f"{JSON}|{ids()}", hexes(2), chunk(MIXED, ".")],
    "json+ids 2+words": [f"{JSON}|{ids()}| ?[A-Za-z]+", hexes(2), chunk(MIXED, ".")],
    "json+ids 2 mixed free": [f"{JSON}|{ids()}", hexes(2)],
}


def corpora(folder: Path):
    yield "azure-ad", (folder / "azure-ad/azure_ad.jsonl").read_text().splitlines()
    yield "cloudtrail", gzip.open(folder / "cloudtrail/cloudtrail.jsonl.gz", "rt").read().splitlines()
    yield "apache", gzip.open(folder / "apache/apache.log.gz", "rt", errors="replace").read().splitlines()
    windows = gzip.open(folder / "windows-attack/T1047_atomic_red_team.jsonl.gz", "rt").read().splitlines()
    yield "windows-attack", windows[:2000]
    yield "hdfs-sessions", gzip.open(folder / "hdfs-sessions/hdfs100k_sessions.jsonl.gz", "rt").read().splitlines()
    yield "cut-down azure", [cut_down(line) for line in (folder / "azure-ad/azure_ad.jsonl").read_text().splitlines()]


def cut_down(line: str) -> str:
    """Returns a record of about 560 characters with nested fields, UUIDs, times and an IP, as a synthetic source writes."""
    r = json.loads(line)
    p = r["properties"]
    keep = {k: p[k] for k in ("id", "userPrincipalName", "appDisplayName", "correlationId", "riskState") if k in p}
    keep["status"] = {"errorCode": p["status"]["errorCode"]}
    keep["location"] = {"city": p["location"].get("city"), "geoCoordinates": p["location"].get("geoCoordinates")}
    top = {k: r[k] for k in ("time", "operationName", "tenantId", "callerIpAddress", "identity") if k in r}
    return json.dumps(top | {"properties": keep})


def tokenizer(splits):
    t = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Split(Regex(s), "isolated") for s in splits]
    t.pre_tokenizer = pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    return t


def train(splits, records, vocab):
    t = tokenizer(splits)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(records, trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, show_progress=False))
    return t


IDENTIFIERS = {
    "uuid": re.compile(rf"(?<![0-9a-fA-F-]){UUID}(?![0-9a-fA-F-])"),
    "time": re.compile(rf"(?<![0-9]){TIME}"),
    "ip": re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])"),
    "number": re.compile(r"(?<![\w.:/+-])[0-9]+(?:\.[0-9]+)?(?![\w.:/+-])"),
}


def measure(t, records):
    tokens, whole, seen, lengths = 0, Counter(), Counter(), Counter()
    for record, e in zip(records, t.encode_batch(records)):
        tokens += len(e.ids)
        starts = {a for a, _ in e.offsets}
        ends = {b for _, b in e.offsets}
        for kind, pattern in IDENTIFIERS.items():
            for m in pattern.finditer(record):
                seen[kind] += 1
                intact = m.start() in starts and m.end() in ends
                whole[kind] += intact
                if kind == "uuid":
                    lengths[sum(1 for a, b in e.offsets if a < m.end() and b > m.start())] += 1
    share = {k: round(100 * whole[k] / seen[k], 1) for k in IDENTIFIERS if seen[k]}
    return tokens / len(records), share, lengths


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("data", type=Path, help="folder that contains the corpora")
    a.add_argument("--vocab", type=int, nargs="+", default=[512, 1024, 2048, 4096], help="vocabulary sizes")
    a.add_argument("--only", nargs="+", help="names of the candidates to train")
    a.add_argument("--corpus", nargs="+", help="names of the corpora to use")
    args = a.parse_args()
    for corpus, records in corpora(args.data):
        if args.corpus and corpus not in args.corpus:
            continue
        cut = len(records) * 9 // 10
        held = records[cut:]
        print(f"\n{corpus}: {len(records)} records, {sum(map(len, held)) / len(held):.0f} characters each", flush=True)
        for name, splits in CANDIDATES.items():
            if args.only and name not in args.only:
                continue
            row, start = [], time.time()
            for vocab in args.vocab:
                t = train(splits, records[:cut], vocab)
                mean, share, lengths = measure(t, held)
                row.append(f"{mean:.0f} ({len(lengths)})")
            print(f"| {name} | {' | '.join(row)} | {share} | {time.time() - start:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
