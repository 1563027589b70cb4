#!/usr/bin/env python3
"""Checks that transformers encodes text with a tokenizer folder as logwright does.

Each line of the texts, its newline included, must encode without loss, and its newline must be one separate token; special tokens
add nothing but, in the folder of a model, the newline with which texts begin. With --ids the ids must equal those of logwright; the file has one JSON array per line, in the
order of the lines of the texts.

Usage: check_tokenizer.py FOLDER TEXT... [--ids FILE]
Exit code: 0 if everything agrees, 1 if something differs.
It needs transformers and tokenizers (scripts/requirements.txt).
"""
import argparse
import json
import sys
from pathlib import Path

from transformers import AutoTokenizer


def differences(tokenizer, line, expected):
    """Yields the differences of one line; none if it is encoded correctly."""
    ids = tokenizer.encode(line, add_special_tokens=False)
    newline = tokenizer.encode("\n", add_special_tokens=False)
    if tokenizer.decode(ids) != line:
        yield f"decodes to {tokenizer.decode(ids)[:80]!r}"
    if tokenizer.encode(line) not in (ids, newline + ids):
        yield "special tokens were added"
    if len(newline) != 1 or ids[-1:] != newline or ids.count(newline[0]) != 1:
        yield f"the newline is not one separate token: {newline}, {ids[-3:]}"
    if expected is not None and ids != expected:
        at = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), min(len(ids), len(expected)))
        yield f"ids differ from token {at} on: transformers {ids[at:at + 5]}, logwright {expected[at:at + 5]}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("texts", nargs="+", type=Path)
    arguments.add_argument("--ids", type=Path)
    args = arguments.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    lines = [line + "\n" for text in args.texts for line in text.read_text(encoding="utf-8").split("\n") if line]
    expected = [json.loads(line) for line in args.ids.open()] if args.ids else [None] * len(lines)
    if len(expected) != len(lines) or not lines:
        sys.exit(f"expected one line of ids per line of text, found {len(lines)} lines of text and {len(expected)} of ids")
    wrong = tokens = 0
    for number, (line, ids) in enumerate(zip(lines, expected), 1):
        tokens += len(tokenizer.encode(line, add_special_tokens=False))
        for what in differences(tokenizer, line, ids):
            wrong += 1
            print(f"line {number}: {what}", file=sys.stderr)
    print(f"{args.folder}: {type(tokenizer).__name__}, vocabulary {len(tokenizer)}, {len(lines)} lines, {tokens} tokens, {wrong} differences")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
