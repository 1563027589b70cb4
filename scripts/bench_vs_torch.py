"""Measures logwright's CUDA engine against PyTorch on one GPU: training, losses step by step, and generation.

    cargo build --release                                            # with nvcc, so that the kernels are inside
    python scripts/bench_vs_torch.py --out bench_vs_torch.json       # --only runs parts of it

The rounds of the contenders are interleaved (A B A B ...); the script prints medians over rounds and their ratio. PyTorch
runs nanogpt.py with nanoGPT's fastest settings: bf16 autocast, fused attention (SDPA), torch.compile, fused AdamW, and
TF32 for what stays f32. Both use the same number of tokens per update, and each uses the micro-batch that is fastest for
it, which is found before the rounds; PyTorch also the faster of the flash and the cuDNN attention.

PyTorch compiles in the background, in a process with `--compile-only`, while the losses are compared, which is not timed;
what it compiled lies in its cache on the disk. Nothing is timed before it is done. Start `--compile-only` yourself beside
other work on the card, and the wait is short.

train     tokens/s of updates: the seed configuration (12/12/768, vocabulary 82) at T = 1024 ... 8192 with 491,520
          tokens per update, and GPT-2 124M (vocabulary 50257, biases, T = 1024)
losses    losses of 50 updates that start from the same weights (a Hugging Face folder that both read) and take the same
          tokens in the same order
generate  tokens/s at 12/12/768, T = 4096, batch 1, 16 and 64, from an almost empty and from an almost full context,
          against a PyTorch loop with a KV cache and against nanoGPT's generate, which computes the whole window for
          every token
limits    the measured peaks of this GPU, bf16 products (TFLOP/s) and copies (GB/s), and the share of the products' peak
          that training reaches

`--device cpu --tiny` runs every part at toy sizes on a CPU. It checks the script and measures nothing.
`scripts/requirements.txt` lists the Python packages.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import nanogpt
from bench_cpu import ROOT, summarise, table, take_turns

SEED = {"layers": 12, "heads": 12, "channels": 768, "vocab": 82, "bias": False}
GPT2 = {"layers": 12, "heads": 12, "channels": 768, "vocab": 50257, "bias": True}
TOKENS_AN_UPDATE = 491_520
TRAIN = [("seed", SEED, context) for context in (1024, 2048, 4096, 8192)] + [("GPT-2 124M", GPT2, 1024)]
ATTENTION = {
    "cuda": {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION},
    "cpu": {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH},
}
TINY = {"layers": 2, "heads": 2, "channels": 64, "vocab": 82, "bias": False}


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def autocast(device):
    return torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=device == "cuda")


def model_of(shape, context, device):
    torch.manual_seed(1)
    sizes = {key: shape[key] for key in ("layers", "heads", "channels", "vocab", "bias")}
    return nanogpt.NanoGpt(nanogpt.Config(context=context, **sizes)).to(device)


def logwright(args, *words):
    """Runs `logwright bench ...` and returns the JSON object that it prints, or None if memory does not suffice."""
    # The CPU engine has no kernels to measure; a check of a script uses the emulator.
    device = "emulator" if args.device == "cpu" and words[0] == "kernels" else args.device
    command = [str(args.binary), "bench", *map(str, words), "--device", device, "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        if "out of memory" in done.stderr:
            return None
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def shape_flags(shape, context):
    flags = [word for key in ("layers", "heads", "channels", "vocab") for word in (f"--{key}", shape[key])]
    return flags + ["--context", context] + (["--bias"] if shape["bias"] else [])


class TorchTrainer:
    """One training configuration of PyTorch, with one kind of attention. The first steps compile it and warm it up."""

    def __init__(self, model, batch, accumulation, device, attention="flash"):
        self.model, self.batch, self.accumulation, self.device = model, batch, accumulation, device
        self.attention = attention
        self.optimizer = nanogpt.adamw(model, lr=1e-4, fused=True)
        self.call = torch.compile(model)

    def update(self, batches):
        """Performs one update on pairs of inputs and targets (B, T) and returns the mean loss, still on the device."""
        with sdpa_kernel(ATTENTION[self.device][self.attention]):
            return self.update_with_any(batches)

    def update_with_any(self, batches):
        total = 0.0
        for inputs, targets in batches:
            with autocast(self.device):
                loss = self.call(inputs, targets)[1] / len(batches)
            loss.backward()
            total = total + loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def rate(self, steps):
        """tokens/s, the median over `steps` updates"""
        T, times = self.model.config.context, []
        tokens = torch.randint(self.model.config.vocab, (self.batch, T + 1), device=self.device)
        batches = [(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())] * self.accumulation
        for _ in range(steps):
            synchronise(self.device)
            start = time.perf_counter()
            self.update(batches)
            synchronise(self.device)
            times.append(time.perf_counter() - start)
        return self.accumulation * self.batch * T / statistics.median(times)


def micro_batches(args, context):
    """The micro-batches to try, largest first: those that divide an update, and among them those of --micro-batches."""
    sequences = max(1, args.tokens // context)
    wanted = args.micro_batches or range(1, 65)
    found = [n for n in range(sequences, 0, -1) if sequences % n == 0 and n in wanted]
    return found or sys.exit(f"--micro-batches: none divides the {sequences} sequences of an update at T = {context}")


def torch_rates(args, shape, context, attention, steps):
    """Yields (trainer, tokens/s) of each micro-batch that fits, largest first; the first `steps` updates do not count."""
    for batch in micro_batches(args, context):
        accumulation = args.tokens // context // batch
        try:
            trainer = TorchTrainer(model_of(shape, context, args.device), batch, accumulation, args.device, attention)
            trainer.rate(steps)
            yield trainer, trainer.rate(steps)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
        finally:
            torch._dynamo.reset()


def best_torch(args, shape, context):
    """The trainer with the fastest of the micro-batches that fit and of the kinds of attention."""
    best, best_rate = None, 0.0
    for attention in ATTENTION[args.device]:
        best_of_kind, worse = 0.0, 0
        for trainer, rate in torch_rates(args, shape, context, attention, 2):
            print(f"    PyTorch, {attention} attention, micro-batch {trainer.batch}: {rate:.0f} tokens/s", file=sys.stderr)
            worse = 0 if rate > best_of_kind else worse + 1
            best_of_kind = max(best_of_kind, rate)
            if rate > best_rate:
                best, best_rate = trainer, rate
            if worse == 2:
                break
    if best is None:
        sys.exit(f"PyTorch: no micro-batch at T = {context} fits this GPU")
    best.rate(2)  # the reset discarded its compiled code: this compiles it again
    return best


def compile_all(args):
    """Compiles what `best_torch` may try, so that PyTorch's cache on the disk has it."""
    for name, shape, context in args.train:
        for attention in ATTENTION[args.device]:
            for trainer, _ in torch_rates(args, shape, context, attention, 1):
                print(f"compiled: {name}, T = {context}, {attention}, micro-batch {trainer.batch}", flush=True)


def compile_in_background():
    """Starts `compile_all` with this script's own arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--compile-only"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def best_logwright(args, shape, context):
    best, best_rate, worse = None, 0.0, 0
    for batch in micro_batches(args, context):
        accumulation = args.tokens // context // batch
        flags = ["train", *shape_flags(shape, context), "--batch", batch, "--accumulation", accumulation]
        found = logwright(args, *flags, "--steps", 2)
        if found is None:
            continue
        rate = found["tokens_per_second"]
        print(f"    logwright, micro-batch {batch}: {rate:.0f} tokens/s", file=sys.stderr)
        worse = 0 if rate > best_rate else worse + 1
        if rate > best_rate:
            best, best_rate = (flags, batch), rate
        if worse == 2:
            break
    if best is None:
        sys.exit(f"logwright: no micro-batch at T = {context} fits this GPU")
    return best


def bench_train(args, results):
    if args.compiling.wait() != 0:
        sys.exit(f"--compile-only: exit code {args.compiling.returncode}; its messages stand above")
    for name, shape, context in args.train:
        print(f"  training, {name}, T = {context}", file=sys.stderr)
        trainer = best_torch(args, shape, context)
        flags, batch = best_logwright(args, shape, context)
        contenders = {"PyTorch": lambda: trainer.rate(args.steps),
                      "logwright": lambda: logwright(args, *flags, "--steps", args.steps)["tokens_per_second"]}
        summary = summarise(take_turns(args, contenders))
        found = {"name": name, "context": context, "micro_batches": [trainer.batch, batch],
                 "torch_attention": trainer.attention, "results": summary}
        results["train"].append(found)
        title = f"training, {name}, T = {context}, micro-batch {trainer.batch} ({trainer.attention}) and {batch}"
        print(table(title, summary), flush=True)
        del trainer
        torch.cuda.empty_cache()


def bench_losses(args, results):
    """Trains both from the same weights on the same tokens in the same order, and prints their losses side by side."""
    shape, context, steps = (TINY, 64, 5) if args.tiny else (SEED, 1024, 50)
    batch, accumulation = (2, 2) if args.tiny else (12, 2)
    model = model_of(shape, context, args.device)
    n = batch * context
    # Each token is one of the three that can follow the previous one, so that there is a pattern to learn.
    generator = torch.Generator().manual_seed(3)
    strides = torch.randint(3, (steps * accumulation * n + 1,), generator=generator)
    stream = (strides.cumsum(0) % shape["vocab"]).to(torch.int32)
    with tempfile.TemporaryDirectory() as folder:
        nanogpt.save(model, folder)
        file = pathlib.Path(folder) / "tokens"
        file.write_bytes(stream.numpy().astype("<u4").tobytes())
        ours = logwright(args, "train", "--init-from", folder, "--tokens", file, "--batch", batch, "--accumulation",
                         accumulation, "--warmup", 0, "--steps", steps)["losses"]
    trainer, theirs = TorchTrainer(model, batch, accumulation, args.device), []
    for step in range(steps):
        batches = []
        for micro in range(accumulation):
            first = (step * accumulation + micro) * n
            pair = (stream[first + shift:first + shift + n].view(batch, context) for shift in (0, 1))
            batches.append(tuple(side.long().to(args.device) for side in pair))
        theirs.append(trainer.update(batches).item())
    apart = max(abs(a - b) for a, b in zip(ours, theirs))
    results["losses"] = {"logwright": ours, "pytorch": theirs, "largest_difference": apart}
    print("| update | logwright | PyTorch |\n|---|---|---|")
    for step in sorted({0, 1, 2, 4, 9, 19, 29, 39, steps - 1} & set(range(steps))):
        print(f"| {step + 1} | {ours[step]:.4f} | {theirs[step]:.4f} |")
    print(f"\nlargest difference over {steps} updates: {apart:.5f}\n", flush=True)


class Cached:
    """Generation with a KV cache in PyTorch: bf16 weights, one call per token, preallocated caches (B, NH, T, HS)."""

    def __init__(self, model, batch, device):
        c = model.config
        self.model, self.batch, self.device = model, batch, device
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model.to(dtype)
        size = (c.layers, 2, batch, c.heads, c.context, c.channels // c.heads)
        self.cache, self.position = torch.zeros(size, dtype=dtype, device=device), 0

    def forward(self, tokens):
        """Takes tokens (B, n) that follow the cached ones and returns the logits (B, V) of the last."""
        t, c, n = self.model.transformer, self.model.config, tokens.shape[1]
        places = torch.arange(self.position, self.position + n, device=self.device)
        x = t.wte(tokens) + t.wpe(places)
        for layer, block in enumerate(t.h):
            q, k, v = (y.view(self.batch, n, c.heads, -1).transpose(1, 2)
                       for y in block.attn.c_attn(block.ln_1(x)).split(c.channels, 2))
            keys, values = self.cache[layer]
            keys[:, :, self.position:self.position + n], values[:, :, self.position:self.position + n] = k, v
            end = self.position + n
            y = F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end], is_causal=n > 1)
            x = x + block.attn.c_proj(y.transpose(1, 2).reshape(self.batch, n, c.channels))
            x = x + block.mlp(block.ln_2(x))
        self.position += n
        return F.linear(t.ln_f(x[:, -1]), t.wte.weight)

    @torch.no_grad()
    def rate(self, prompt, count):
        """tokens/s of `count` sampled tokens after a prompt of `prompt` tokens"""
        self.position = 0
        tokens = torch.randint(self.model.config.vocab, (self.batch, prompt), device=self.device)
        logits = self.forward(tokens)
        synchronise(self.device)
        start = time.perf_counter()
        for _ in range(count):
            token = torch.multinomial((logits.float() / 0.8).softmax(1), 1)
            logits = self.forward(token)
        synchronise(self.device)
        return self.batch * count / (time.perf_counter() - start)


@torch.no_grad()
def nanogpt_rate(model, prompt, batch, device, count=4):
    tokens = torch.randint(model.config.vocab, (batch, prompt), device=device)
    model.generate(tokens, 1, temperature=0.8)
    synchronise(device)
    start = time.perf_counter()
    model.generate(tokens, count, temperature=0.8)
    synchronise(device)
    return batch * count / (time.perf_counter() - start)


def bench_generate(args, results):
    shape, context, count = (TINY, 64, 8) if args.tiny else (SEED, 4096, 256)
    for batch in [1, 2] if args.tiny else [1, 16, 64]:
        model = model_of(shape, context, args.device).eval()
        cached = Cached(model, batch, args.device)
        for job, prompt in (("empty", 1), ("full", context - count)):
            # logwright's bench ends where the context ends, so its context is shortened to fill the same part.
            end = prompt + count
            flags = ["generate", *shape_flags(shape, end), "--batch", batch, "--tokens", count]
            contenders = {"nanoGPT": lambda: nanogpt_rate(model, min(prompt + count // 2, context), batch, args.device),
                          "PyTorch, KV cache": lambda: cached.rate(prompt, count),
                          "logwright": lambda: logwright(args, *flags)["tokens_per_second"]}
            summary = summarise(take_turns(args, contenders))
            results["generate"].append({"batch": batch, "job": job, "results": summary})
            print(table(f"generation, batch {batch}, context {job} ({prompt} to {end} tokens)", summary), flush=True)
        del cached, model
        torch.cuda.empty_cache()


def bench_limits(args, results):
    """Measures bf16 products (8192)^3 and device-to-device copies of 4 GiB, medians of 20."""
    size, bytes_ = (256, 1 << 20) if args.tiny else (8192, 4 << 30)
    dtype = torch.bfloat16
    a, b = (torch.randn(size, size, device=args.device, dtype=dtype) for _ in range(2))
    source = torch.empty(bytes_ // 2, dtype=torch.uint8, device=args.device)
    target = torch.empty_like(source)

    def seconds(work):
        times = []
        for _ in range(25):
            synchronise(args.device)
            start = time.perf_counter()
            work()
            synchronise(args.device)
            times.append(time.perf_counter() - start)
        return statistics.median(times[5:])

    tflops = 2 * size**3 / seconds(lambda: torch.matmul(a, b)) / 1e12
    gbps = 2 * source.numel() / seconds(lambda: target.copy_(source)) / 1e9
    results["limits"] = {"gemm_tflops": tflops, "copy_gb_per_s": gbps}
    print(f"products {tflops:.0f} TFLOP/s, copies {gbps:.0f} GB/s (reads plus writes)\n")
    for row in results["train"]:
        shape = next(shape for name, shape, _ in args.train if name == row["name"])
        flops = causal_flops(shape, row["context"])
        ours = row["results"]["logwright"]["median"]
        row["share_of_gemm"] = ours * flops / (tflops * 1e12)
        print(f"{row['name']}, T = {row['context']}: {100 * row['share_of_gemm']:.1f} % of the measured product peak")


def causal_flops(shape, context):
    """FLOPs per token of training: 6 for each weight of a product, plus attention over half of the window."""
    c, layers = shape["channels"], shape["layers"]
    return 6 * (12 * layers * c * c + shape["vocab"] * c) + 6 * layers * c * context


# In this order: the losses are not timed, so PyTorch can compile beside them.
PARTS = {"losses": bench_losses, "train": bench_train, "generate": bench_generate, "limits": bench_limits}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/logwright")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench_vs_torch.json"),
                        help="JSON file for the results of all rounds")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="run only these parts")
    parser.add_argument("--contexts", type=int, nargs="+", help="run only the training rows with these sequence lengths")
    parser.add_argument("--micro-batches", type=int, nargs="+", help="try only these: each costs PyTorch one compilation")
    parser.add_argument("--compile-only", action="store_true",
                        help="only compile what PyTorch will train, for a later run, and measure nothing")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="use toy sizes, to check this script")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="updates per round")
    parser.add_argument("--tokens", type=int, default=TOKENS_AN_UPDATE, help="tokens per update")
    args = parser.parse_args()
    if not args.binary.exists():
        parser.error(f"{args.binary} does not exist: run `cargo build --release`")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU; --device cpu --tiny checks only the script")
    args.train = [row for row in TRAIN if not args.contexts or row[2] in args.contexts]
    if args.tiny:
        args.train, args.tokens, args.rounds, args.steps = [("tiny", TINY, 64)], 256, 2, 2
    return args


def main():
    args = arguments()
    torch.set_float32_matmul_precision("high")
    if args.compile_only:
        return compile_all(args)
    args.compiling = compile_in_background() if "train" in args.only else None
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    results = {"device": name, "torch": torch.__version__, "train": [], "generate": []}
    print(f"{name}, PyTorch {torch.__version__}\n", flush=True)
    for part in PARTS:
        if part in args.only:
            PARTS[part](args, results)
            # Write after every part, so that a later failure loses nothing.
            args.out.write_text(json.dumps(results, indent=2) + "\n")
    if any(math.isnan(loss) for loss in results.get("losses", {}).get("logwright", [])):
        sys.exit("a loss is NaN")


if __name__ == "__main__":
    main()
