"""Measures logwright's attention kernels against PyTorch's (SDPA: FlashAttention-2, cuDNN) on one GPU.

    cargo build --release                                            # with nvcc, so that the kernels are inside
    python scripts/bench_attention.py --out bench_attention.json

Attention is causal, in bf16, with head sizes 64 and 128 and T = 1024 ... 8192, at 16,384 tokens and 2,048 channels in
all, as in the papers of FlashAttention-2 and 3. The rounds of the contenders are interleaved; each contender rotates
over buffers that do not fit the L2 cache. TFLOP/s count what any implementation of a causal pass must compute:
2 B T^2 C forward and 2.5 times that backward. So the two products that logwright's deterministic backward pass computes
twice do not count. LOGWRIGHT_ATTENTION=mma measures the kernels of every card on a Hopper card too.

`--device cpu --tiny` runs this script at toy sizes with the CPU's SDPA and the emulator. It checks the script and measures
nothing; it needs a build with `--features emulator`. `scripts/requirements.txt` lists the Python packages.
"""

import argparse
import json
import pathlib
import sys
import time

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench_cpu import ROOT, summarise, table, take_turns
from bench_vs_torch import logwright, synchronise

BACKENDS = {"PyTorch, flash": SDPBackend.FLASH_ATTENTION, "PyTorch, cuDNN": SDPBackend.CUDNN_ATTENTION}
ROTATED_BYTES = 256 << 20


def flops(direction, batch, T, channels):
    forward = 2 * batch * T * T * channels
    return forward if direction == "forward" else 2.5 * forward


class Sdpa:
    """PyTorch's attention at one shape. Calls rotate over sets of q, k, v and dout (B, NH, T, HS)."""

    def __init__(self, args, backend, batch, T, head_size):
        self.args, self.backend, self.size = args, backend, (batch, args.channels // head_size, T, head_size)
        set_bytes = 4 * 2 * batch * T * args.channels
        count = 1 if args.tiny else max(2, -(-ROTATED_BYTES // set_bytes))
        self.sets = [[self.noise(grad) for grad in (True, True, True, False)] for _ in range(count)]

    def noise(self, grad):
        return torch.randn(self.size, dtype=torch.bfloat16, device=self.args.device, requires_grad=grad)

    def seconds(self, direction):
        """Seconds of one call: forward only, or backward only, after a forward pass that is not timed."""
        with sdpa_kernel(self.backend):
            attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
            if direction == "forward":
                with torch.no_grad():
                    return self.timed(lambda q, k, v, dout: attend(q, k, v), self.sets)
            outs = [(attend(q, k, v), q, k, v, dout) for q, k, v, dout in self.sets]
            gradients = lambda out, q, k, v, dout: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)
            return self.timed(gradients, outs)

    def timed(self, call, sets):
        calls = 2 if self.args.tiny else max(20, 2 * len(sets))
        for turn in range(-2, calls):
            if turn == 0:
                synchronise(self.args.device)
                start = time.perf_counter()
            call(*sets[turn % len(sets)])
        synchronise(self.args.device)
        return (time.perf_counter() - start) / calls


def our_seconds(args, direction, batch, T, head_size):
    """Seconds of the attention kernels in a training step of one layer, from `logwright bench kernels`."""
    sizes = ["--layers", 1, "--heads", args.channels // head_size, "--channels", args.channels, "--context", T]
    pace = ["--rounds", 5, "--peak-size", 1024]
    if args.tiny:
        pace = ["--rounds", 1, "--peak-size", 16, "--rotate", 1, "--round", 0]
    report = logwright(args, "kernels", "--json", *sizes, "--batch", batch, "--only", "attention_", *pace)
    if report is None:
        sys.exit(f"logwright: {batch} sequences of {T} tokens do not fit this GPU")
    # The kernels of every card and those for Hopper name the parts of the backward pass otherwise.
    is_forward = {kernel["name"]: "forward" in kernel["name"] for kernel in report["kernels"]}
    assert list(is_forward.values()).count(True) == 1, is_forward
    return sum(kernel["seconds"] for kernel in report["kernels"] if is_forward[kernel["name"]] == (direction == "forward"))


def measure(args, T, head_size, direction):
    batch = max(1, args.tokens // T)
    work = flops(direction, batch, T, args.channels) / 1e12
    contenders = {}
    for name, backend in BACKENDS.items():
        side = Sdpa(args, backend, batch, T, head_size)
        try:
            side.seconds(direction)
        except RuntimeError as error:
            print(f"{name}: does not run on this device ({str(error).splitlines()[0]})", flush=True)
            continue
        contenders[name] = lambda side=side: work / side.seconds(direction)
    contenders["logwright"] = lambda: work / our_seconds(args, direction, batch, T, head_size)
    summary = summarise(take_turns(args, contenders, "TFLOP/s"))
    print(table(f"{direction}, head size {head_size}, {batch} x {T}", summary, "TFLOP/s"), flush=True)
    return {"direction": direction, "head_size": head_size, "T": T, "batch": batch, "results": summary}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/logwright")
    out = pathlib.Path("bench_attention.json")
    parser.add_argument("--out", type=pathlib.Path, default=out, help="JSON file for the results of all rounds")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 2048, 4096, 8192],
                        help="sequence lengths T")
    parser.add_argument("--head-sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--tokens", type=int, default=16_384, help="tokens per call, B x T")
    parser.add_argument("--channels", type=int, default=2048, help="channels, NH x HS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="use toy sizes, to check this script")
    args = parser.parse_args()
    if not args.binary.exists():
        parser.error(f"{args.binary} does not exist: run `cargo build --release`")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU; --device cpu --tiny checks only the script")
    if args.device == "cpu" and not args.tiny:
        parser.error("--device cpu requires --tiny")
    if args.tiny:
        args.contexts, args.tokens, args.channels, args.rounds = [64], 128, 128, 2
    return args


def main():
    args = arguments()
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}\n", flush=True)
    results = {"device": name, "torch": torch.__version__, "rows": []}
    for head_size in args.head_sizes:
        for T in args.contexts:
            for direction in ("forward", "backward"):
                results["rows"].append(measure(args, T, head_size, direction))
                # Write after every row, so that a later failure loses nothing.
                args.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
