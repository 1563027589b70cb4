"""Measures training and generation of logwright's CPU engine against PyTorch f32 (nanogpt.py), both in one run.

    cargo build --release
    python scripts/bench_cpu.py --out bench_cpu.json             # both; about 15 min on 2 idle cores
    python scripts/bench_cpu.py --torch-only --only train        # only PyTorch's training; about 4 min

The rounds of the contenders are interleaved (A B A B ...), so that a machine that slows down slows all of them; only one
runs at a time. Each gets the same number of threads. A round's value is the median over its steps. The table shows the
median over rounds, the smallest and largest round, and the ratio of medians.

Training: a step is forward, backward, clipping and AdamW. PyTorch runs eagerly and under torch.compile (compile time does
not count; a C++ compiler is needed). It uses its fused AdamW, which is faster on a CPU than nanoGPT's default.

Generation: 6/6/384, T = 1024. nanoGPT has no KV cache, so it computes the whole window for every token. There are two
jobs. `filling` generates the 1023 tokens that follow a one-token prompt; nanoGPT is timed in the middle of 8 equal parts
of the window, and the mean cost per token is taken. `full` generates the last 64 tokens of the window with logwright, and
with nanoGPT tokens at a full window, whose cost per token no longer changes.

`scripts/requirements.txt` lists the Python packages.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import torch

import nanogpt

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOCAB = 512
TRAIN = [{"layers": 4, "heads": 4, "channels": 256, "context": 256, "batch": 8},
         {"layers": 6, "heads": 6, "channels": 384, "context": 512, "batch": 4}]
GENERATE = {"layers": 6, "heads": 6, "channels": 384, "context": 1024}


def model_of(shape, bias):
    torch.manual_seed(1)
    sizes = {k: v for k, v in shape.items() if k != "batch"}
    return nanogpt.NanoGpt(nanogpt.Config(vocab=VOCAB, bias=bias, **sizes))


class TorchTrainer:
    """One training configuration of PyTorch, warmed up (and compiled) at construction."""

    def __init__(self, shape, bias, compiled):
        self.shape, self.model = shape, model_of(shape, bias)
        self.optimizer = nanogpt.adamw(self.model, fused=True)
        self.call = torch.compile(self.model) if compiled else self.model
        self.tokens = torch.randint(VOCAB, (shape["batch"], shape["context"] + 1))
        self.step_ms(3)

    def step_ms(self, steps):
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            loss = self.call(self.tokens[:, :-1].contiguous(), self.tokens[:, 1:].contiguous())[1]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def round(self, steps):
        """tokens/s, the median over `steps` steps"""
        return 1e3 * self.shape["batch"] * self.shape["context"] / statistics.median(self.step_ms(steps))


def logwright(args, *words):
    """Runs `logwright bench ...` and returns the JSON object that it prints."""
    environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
    command = [str(args.binary), "bench", *map(str, words), "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as e:
        sys.exit(f"{' '.join(command)}: expected one JSON object on stdout: {e}")


def flags(shape):
    return [word for key, value in shape.items() for word in (f"--{key}", value)] + ["--vocab", VOCAB]


def logwright_train(args, shape):
    """tokens/s, the median over `args.steps` steps that follow its warm-up steps"""
    result = logwright(args, "train", *flags(shape), "--steps", args.steps)
    if bool(result["config"].get("bias", args.bias)) != args.bias:
        sys.exit("logwright's bench and PyTorch disagree about `bias`: add --bias, or remove it")
    return result["tokens_per_second"]


def bench_train(args, shape):
    """Runs the rounds of every contender and returns {name: [tokens/s of each round]}."""
    contenders = {}
    for name, compiled in (("PyTorch eager", False), ("PyTorch compiled", True)):
        trainer = TorchTrainer(shape, args.bias, compiled)
        contenders[name] = lambda trainer=trainer: trainer.round(args.steps)
    if not args.torch_only:
        contenders["logwright"] = lambda: logwright_train(args, shape)
    return take_turns(args, contenders)


def nanogpt_rate(model, window, batch, tokens):
    """tokens/s of nanoGPT's generate with a window of `window` tokens, the median over `tokens` single tokens"""
    prompt, times = torch.randint(VOCAB, (batch, window)), []
    for _ in range(tokens):
        start = time.perf_counter()
        model.generate(prompt, 1, temperature=0.8)
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


def nanogpt_filling(model, batch, tokens, parts=8):
    """tokens/s over a whole window: the mean cost per token, from `tokens` tokens at the middle of each part"""
    context = model.config.context
    middles = [context * (2 * i + 1) // (2 * parts) for i in range(parts)]
    return 1 / statistics.mean(1 / nanogpt_rate(model, middle, batch, tokens) for middle in middles)


def bench_generate(args, batch, job):
    """Runs the rounds of one job, `filling` or `full`, and returns {name: [tokens/s of each round]}."""
    model, context = model_of(GENERATE, args.bias).eval(), GENERATE["context"]
    nanogpt_rate(model, context, batch, 1)  # warm-up
    filling = job == "filling"
    contenders = {"nanoGPT": lambda: nanogpt_filling(model, batch, args.tokens) if filling
                  else nanogpt_rate(model, context, batch, args.tokens)}
    if not args.torch_only:
        words = ["generate", *flags(GENERATE | {"batch": batch}), "--tokens", context - 1 if filling else 64]
        contenders["logwright"] = lambda: logwright(args, *words)["tokens_per_second"]
    return take_turns(args, contenders)


def take_turns(args, contenders, unit="tokens/s"):
    rounds = {name: [] for name in contenders}
    for number in range(args.rounds):
        for name, measure in contenders.items():
            rounds[name].append(measure())
            print(f"  round {number + 1}: {name} {rounds[name][-1]:.1f} {unit}", file=sys.stderr)
    return rounds


def summarise(rounds):
    """Median and extremes of each contender, and the ratio of logwright's median to it."""
    medians = {name: statistics.median(x) for name, x in rounds.items()}
    out = {name: {"median": medians[name], "min": min(x), "max": max(x), "rounds": x} for name, x in rounds.items()}
    if "logwright" in medians:
        for name in rounds:
            out[name]["logwright_ratio"] = medians["logwright"] / medians[name]
    return out


def table(title, summary, unit="tokens/s"):
    lines = [f"| {title} | {unit}, median | rounds, min-max | logwright is |", "|---|---|---|---|"]
    for name, x in summary.items():
        ratio = f"{x['logwright_ratio']:.2f} x" if "logwright_ratio" in x and name != "logwright" else "-"
        lines.append(f"| {name} | {x['median']:.1f} | {x['min']:.1f}-{x['max']:.1f} | {ratio} |")
    return "\n".join(lines) + "\n"


def machine(args):
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        names = [x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")]
        cpu = f"{names[0]}, {len(names)} CPUs" if names else cpu
    return {"cpu": cpu, "capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__,
            "threads": args.threads, "load_average_before": os.getloadavg()[0]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/logwright")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench_cpu.json"),
                        help="JSON file for the results of all rounds")
    parser.add_argument("--only", choices=["train", "generate"], help="measure only this part")
    parser.add_argument("--torch-only", action="store_true", help="measure PyTorch only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="training steps per round")
    parser.add_argument("--tokens", type=int, default=5, help="tokens that nanoGPT generates at each window length")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="numbers of sequences generated at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bias", action="store_true", help="use models with biases")
    args = parser.parse_args()
    if not args.torch_only and not args.binary.exists():
        parser.error(f"{args.binary} does not exist: run `cargo build --release`, or use --torch-only")
    return args


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    if os.getloadavg()[0] > 0.5:
        print(f"warning: load average {os.getloadavg()[0]:.1f}: other programs use the cores. PyTorch suffers most, since "
              "its threads wait for each other at every operation; measure on an idle machine", file=sys.stderr)
    results, tables = {"machine": machine(args), "train": [], "generate": []}, []
    if args.only != "generate":
        for shape in TRAIN:
            summary = summarise(bench_train(args, shape))
            results["train"].append({"shape": shape | {"vocab": VOCAB}, "results": summary})
            tables.append(table("training " + "/".join(map(str, shape.values())), summary))
    if args.only != "train":
        for batch, job in itertools.product(args.batches, ("filling", "full")):
            summary = summarise(bench_generate(args, batch, job))
            shape = GENERATE | {"vocab": VOCAB, "batch": batch}
            results["generate"].append({"shape": shape, "job": job, "results": summary})
            tables.append(table(f"generation {'/'.join(map(str, GENERATE.values()))}, B={batch}, {job}", summary))
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"Layers/heads/channels/context(/batch); vocabulary {VOCAB}; {json.dumps(results['machine'])}\n")
    print("\n".join(tables))


if __name__ == "__main__":
    main()
