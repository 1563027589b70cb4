"""Trains the same GPT with logwright and with PyTorch (nanogpt.py) on the same tokens and compares validation losses.

    logwright prepare azure_ad.jsonl --out data --tokenizer bpe --vocab-size 512
    python scripts/compare_azure.py --data data --out compare_azure.json

Both read scripts/compare_azure.toml (or --config FILE), which sets model, steps, batch, schedule, AdamW and clipping. For
each seed, both start from their own random weights and draw their own random windows. Only the distributions must agree,
so the difference of the mean final validation losses is compared with its 95 % confidence interval (Welch's t); the exit
code is 1 if it lies outside. Validation is full: its windows do not overlap and cover the split. logwright's final loss
is that of the last line in RUN/metrics.jsonl with a `val_loss`.

With the committed configuration a run takes about 3 minutes on 2 cores; there are 6 runs. `scripts/requirements.txt` lists
the Python packages.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import time
import tomllib

import numpy
import tokenizers
import torch

import nanogpt

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAGIC, HEADER_BYTES = b"LWTOKENS", 64
WIDTHS = {2: "<u2", 4: "<u4"}
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31}  # two-sided, by degrees of freedom
MODEL_KEYS = ["layers", "heads", "channels", "context", "bias"]
TRAIN_KEYS = ["steps", "batch", "accumulation", "warmup", "learning_rate", "min_learning_rate", "beta_1", "beta_2",
              "epsilon", "weight_decay", "grad_clip"]
# What the PyTorch loop implements, and a full validation at the end of both.
FIXED = {"windows": "random", "schedule": "cosine", "eval_windows": 0, "patience": 0}


def read_shard(path):
    """Reads the tokens of one shard. Its header has 64 bytes: magic, version u32, token width u32, count u64, ..."""
    raw = path.read_bytes()
    if len(raw) < HEADER_BYTES or raw[:8] != MAGIC:
        sys.exit(f"{path}: expected a token shard that starts with {MAGIC.decode()}, found {raw[:8]!r}")
    _version, width, count = struct.unpack_from("<IIQ", raw, 8)
    if width not in WIDTHS or len(raw) < HEADER_BYTES + width * count:
        sys.exit(f"{path}: {len(raw)} bytes cannot hold {count} tokens of {width} bytes; run prepare again")
    return numpy.frombuffer(raw, WIDTHS[width], count, HEADER_BYTES)


def read_split(data, split):
    """Reads all tokens of `train` or `val`, in the order of the shards, as int64."""
    shards = sorted(data.glob(f"{split}-*.bin"))
    if not shards:
        sys.exit(f"{data}: expected {split}-*.bin in it, found none; pass a folder that `logwright prepare` wrote")
    return torch.from_numpy(numpy.concatenate([read_shard(x) for x in shards]).astype(numpy.int64))


def read_config(path):
    """Reads the flat table of the configuration file and returns the model's sizes and the training's settings."""
    config = tomllib.loads(path.read_text())
    missing = set(MODEL_KEYS + TRAIN_KEYS) - config.keys()
    if missing:
        sys.exit(f"{path}: lacks {', '.join(sorted(missing))}; both programs need the same settings")
    for key, value in FIXED.items():
        if config[key] != value:
            sys.exit(f"{path}: {key} is {config[key]!r}, but this comparison requires {value!r}")
    return {key: config[key] for key in MODEL_KEYS}, {key: config[key] for key in TRAIN_KEYS}


def random_batch(tokens, batch, context, generator):
    """Returns inputs and targets (B, T) of nanoGPT's windows, whose starts are drawn uniformly."""
    starts = torch.randint(len(tokens) - context, (batch,), generator=generator)
    windows = torch.stack([tokens[i:i + context + 1] for i in starts.tolist()])
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


@torch.no_grad()
def full_validation(model, tokens, batch):
    """Mean loss over all tokens but the first; the last window is padded with ignored targets."""
    context, counted = model.config.context, len(tokens) - 1
    windows = math.ceil(counted / context)
    inputs = torch.zeros(windows * context, dtype=torch.int64)
    targets = torch.full_like(inputs, nanogpt.IGNORE)
    inputs[:counted], targets[:counted] = tokens[:-1], tokens[1:]
    inputs, targets, total = inputs.view(windows, context), targets.view(windows, context), 0.0
    for i in range(0, windows, batch):
        part = targets[i:i + batch]
        total += model(inputs[i:i + batch], part)[1].item() * int((part != nanogpt.IGNORE).sum())
    return total / counted


def torch_run(shape, vocab, train, splits, seed):
    """Runs nanoGPT's loop once and returns the final loss of a full validation."""
    torch.manual_seed(seed)
    model = nanogpt.NanoGpt(nanogpt.Config(vocab=vocab, **shape))
    optimizer = nanogpt.adamw(model, betas=(train["beta_1"], train["beta_2"]), weight_decay=train["weight_decay"],
                              eps=train["epsilon"], fused=True)
    generator = torch.Generator().manual_seed(seed)
    for step in range(train["steps"]):
        peak, floor = train["learning_rate"], train["min_learning_rate"]
        nanogpt.set_lr(optimizer, nanogpt.cosine_lr(step, train["steps"], train["warmup"], peak, floor))
        total = 0.0
        for _ in range(train["accumulation"]):
            batch = random_batch(splits["train"], train["batch"], shape["context"], generator)
            loss = model(*batch)[1] / train["accumulation"]
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train["grad_clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            print(f"  PyTorch seed {seed} step {step}: loss {total:.4f}", file=sys.stderr)
    return full_validation(model, splits["val"], train["batch"])


def logwright_run(args, seed):
    """Runs `logwright train` once and returns its last validation loss."""
    run = args.runs / f"seed-{seed}"
    if run.exists():
        sys.exit(f"{run} exists: delete it, or choose another folder with --runs")
    command = [args.binary, "train", "--data", args.data, "--out", run, "--config", args.config, "--seed", seed]
    command += ["--device", "cpu", "--quiet"]
    environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
    done = subprocess.run([str(word) for word in command], env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [x["val_loss"] for x in metrics if x.get("val_loss") is not None]
    if not losses:
        sys.exit(f"{run}/metrics.jsonl: expected a line with a val_loss, found none")
    return losses[-1]


def side(name, seeds, run):
    """Runs every seed and returns losses, mean, standard deviation and seconds."""
    losses, seconds = [], []
    for seed in seeds:
        start = time.perf_counter()
        losses.append(run(seed))
        seconds.append(time.perf_counter() - start)
        print(f"{name} seed {seed}: validation loss {losses[-1]:.4f}, {seconds[-1]:.0f} s", file=sys.stderr)
    spread = statistics.stdev(losses) if len(losses) > 1 else math.nan
    return {"losses": losses, "mean": statistics.mean(losses), "deviation": spread, "seconds": seconds}


def compare(ours, theirs):
    """The difference of the means and half of its 95 % confidence interval (Welch's; df is rounded down: wider)."""
    variances = [x["deviation"] ** 2 / len(x["losses"]) for x in (ours, theirs)]
    total = sum(variances)
    df = total**2 / sum(v**2 / (len(x["losses"]) - 1) for v, x in zip(variances, (ours, theirs))) if total else 1
    half = T_95[min(8, max(1, int(df)))] * math.sqrt(total)
    difference = ours["mean"] - theirs["mean"]
    return {"difference": difference, "interval_95": half, "within_noise": abs(difference) <= half}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder that `logwright prepare` wrote")
    parser.add_argument("--config", type=pathlib.Path, default=pathlib.Path(__file__).with_suffix(".toml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="at least two")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("run/compare"), help="folder for logwright's runs")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("compare_azure.json"))
    parser.add_argument("--torch-only", action="store_true", help="train with PyTorch only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/logwright")
    args = parser.parse_args()
    if not args.torch_only and not args.binary.exists():
        parser.error(f"{args.binary} does not exist: run `cargo build --release`, or use --torch-only")
    if len(args.seeds) < 2:
        parser.error("--seeds: a standard deviation needs at least two seeds")
    return args


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    shape, train = read_config(args.config)
    splits = {split: read_split(args.data, split) for split in ("train", "val")}
    vocab = tokenizers.Tokenizer.from_file(str(args.data / "tokenizer.json")).get_vocab_size()
    sizes = f"{len(splits['train'])} training and {len(splits['val'])} validation tokens, vocabulary {vocab}"
    print(sizes, file=sys.stderr)
    result = {"model": shape, "train": train, "vocab": vocab, "seeds": args.seeds, "torch": torch.__version__}
    if not args.torch_only:
        result["logwright"] = side("logwright", args.seeds, lambda seed: logwright_run(args, seed))
    result["pytorch"] = side("PyTorch", args.seeds, lambda seed: torch_run(shape, vocab, train, splits, seed))
    print("| | validation loss, mean ± standard deviation | each seed | seconds per run |\n|---|---|---|---|")
    for name in ("logwright", "pytorch"):
        if name in result:
            x = result[name]
            losses = ", ".join(f"{loss:.4f}" for loss in x["losses"])
            print(f"| {name} | {x['mean']:.4f} ± {x['deviation']:.4f} | {losses} | "
                  f"{statistics.median(x['seconds']):.0f} |")
    if not args.torch_only:
        result |= compare(result["logwright"], result["pytorch"])
        print(f"\ndifference {result['difference']:+.4f}, 95 % interval of zero ± {result['interval_95']:.4f}: "
              f"{'within noise' if result['within_noise'] else 'OUTSIDE noise'}")
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(0 if args.torch_only or result["within_noise"] else 1)


if __name__ == "__main__":
    main()
