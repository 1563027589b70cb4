"""Writes tests/fixtures/gpt2_*.safetensors: the results of PyTorch for a tiny GPT-2, for tests of the Rust engine.

    python scripts/make_fixtures.py            # writes the files; about 10 s
    python scripts/make_fixtures.py --check    # compares with the committed files, also under another torch version

There are two files, `gpt2_bias` (2 layers, a few ignored targets) and `gpt2_nobias` (1 layer). The metadata entry
`config` of each header is a JSON object: vocab, context, layers, heads, channels, bias, batch, time, and `adamw` (betas,
eps, weight_decay, clip). The tensors have Hugging Face's names and its Conv1D layout (in, out); only parameters that the
model has are present:

    tokens, targets     (B, T) i32; a target of -1 is ignored
    param.<name>        f32, the parameters before training
    logits (B, T, V), loss (), grad.<name>           f64; the loss is the mean over the targets that are not ignored
    adamw.loss, adamw.norm, adamw.lr                 (10) f64: ten steps on this one batch; loss and gradient norm
                                                     are taken before the update, the norm before clipping
    after.<name>        f64, the parameters after the ten steps
    error.<x>           (2) f64 for each x above that is f64 (except adamw.lr): the largest absolute error and the root
                        mean square error of PyTorch in float32 against the float64 values

A single float32 run may be accurate by chance, so `error` is the largest over eight runs that differ only in rounding:
their channels are in another order, which changes the order of every sum, and attention is fused or explicit. A test
requires the following, where the last term is one unit in the last place of float32 at the largest value:

    error(ours) <= 2 * error.<x> + 2^-23 * max|x|

This script checks each of the eight runs against the other seven by this rule, so that a rule that rejects correct code is
not committed.

The update is nanoGPT's: g *= min(1, clip / (norm + 1e-6)); AdamW with bias correction; p -= lr * weight_decay * p first,
only on tensors with 2 dimensions. The weights are drawn with a large spread, so that no gradient is tiny, with one
exception: the gradient of the key part of `attn.c_attn.bias` is zero in theory (softmax ignores a constant offset), and
AdamW turns its rounding noise into steps of up to lr. So `error.after...c_attn.bias` covers the query and value parts,
and a test leaves out the middle third of that tensor; it does not affect the loss.

`scripts/requirements.txt` lists the Python packages.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import safetensors
import safetensors.torch
import torch

import nanogpt

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"
BATCH, TIME, STEPS = 2, 13, 10
ADAMW = {"betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0}
CASES = {
    "gpt2_bias": nanogpt.Config(vocab=53, context=16, layers=2, heads=2, channels=16, bias=True),
    "gpt2_nobias": nanogpt.Config(vocab=53, context=16, layers=1, heads=2, channels=16, bias=False),
}
IGNORED = [(0, 3), (1, 0), (1, 12)]  # the ignored targets of gpt2_bias: (sample, position)


def draw(config, seed):
    """Draws parameters (f32, by module name), tokens and targets (B, T) of a case with a seeded CPU generator."""
    generator = torch.Generator().manual_seed(seed)
    params = {}
    for name, p in nanogpt.NanoGpt(config).named_parameters():
        is_gain = p.dim() == 1 and name.endswith("weight")
        params[name] = 0.2 * torch.randn(p.shape, generator=generator) + (1.0 if is_gain else 0.0)
    stream = torch.randint(config.vocab, (BATCH, TIME + 1), generator=generator)
    tokens, targets = stream[:, :-1].contiguous(), stream[:, 1:].clone()
    if config.bias:
        for sample, position in IGNORED:
            targets[sample, position] = nanogpt.IGNORE
    return params, tokens, targets


def learning_rates():
    """The schedule: warm-up over four steps, then half a cosine from 1e-2 to 1e-3."""
    return [nanogpt.cosine_lr(step, STEPS, 4, 1e-2, 1e-3) for step in range(STEPS)]


def build(config, params, dtype, flash):
    model = nanogpt.NanoGpt(dataclasses.replace(config, flash=flash)).to(dtype)
    model.load_state_dict(params)
    return model


def reorder(name, x, order):
    """Reorders the channels of the residual stream in a parameter (module layout); the model computes the same function."""
    if name.endswith(("c_attn.bias", "c_fc.bias")):
        return x
    columns = name.endswith(("wte.weight", "wpe.weight", "c_attn.weight", "c_fc.weight"))
    return x[:, order] if columns else x[order]


def evaluate(config, params, tokens, targets, dtype, flash=False, order=None):
    """Computes all results in one precision and one order of summation, as f64 tensors by fixture name."""
    order = torch.arange(config.channels) if order is None else order
    back = order.argsort()
    params = {name: reorder(name, x, order) for name, x in params.items()}
    model = build(config, params, dtype, flash)
    logits, loss = model(tokens, targets)
    loss.backward()
    trained = build(config, params, dtype, flash)
    out = {"logits": logits.detach(), "loss": loss.detach()} | train(trained, tokens, targets)
    for name, p, transposed in nanogpt.hf_parameters(model):
        out[f"grad.{name}"] = nanogpt.hf_view(reorder(name, p.grad, back), transposed)
    for name, p, transposed in nanogpt.hf_parameters(trained):
        out[f"after.{name}"] = nanogpt.hf_view(reorder(name, p, back), transposed)
    return {name: x.double().contiguous() for name, x in out.items()}


def train(model, tokens, targets):
    """Trains the model in place for ten AdamW steps on one batch; returns adamw.loss and adamw.norm."""
    optimizer = nanogpt.adamw(model, betas=ADAMW["betas"], weight_decay=ADAMW["weight_decay"], eps=ADAMW["eps"])
    losses, norms = [], []
    for lr in learning_rates():
        nanogpt.set_lr(optimizer, lr)
        optimizer.zero_grad()
        loss = model(tokens, targets)[1]
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), ADAMW["clip"]))
        optimizer.step()
        losses.append(loss.detach())
    return {"adamw.loss": torch.stack(losses), "adamw.norm": torch.stack(norms)}


def error(key, x, truth):
    """The largest absolute and the root mean square error, without the trained key part of c_attn.bias, which is noise."""
    difference = (x - truth).abs()
    if key.startswith("after.") and key.endswith("c_attn.bias"):
        query, _, value = difference.chunk(3)
        difference = torch.cat((query, value))
    return torch.stack((difference.max(), difference.square().mean().sqrt()))


def floor(truth):
    """One unit in the last place of float32 at the largest value: the error that a single rounding may cause."""
    return truth.abs().max() * 2.0**-23


def float32_versions(config, params, tokens, targets, seed):
    """Evaluates eight times in float32; the results differ only in rounding."""
    generator = torch.Generator().manual_seed(1000 + seed)
    orders = [torch.randperm(config.channels, generator=generator) for _ in range(8)]
    return [evaluate(config, params, tokens, targets, torch.float32, i % 2 == 1, order)
            for i, order in enumerate(orders)]


def tolerance(key, truth, versions):
    """error.<key> (2): the largest error of the versions, after a check that none breaks the rule given by the others."""
    errors = torch.stack([error(key, version[key], truth) for version in versions])
    for i in range(len(versions)):
        others = torch.cat((errors[:i], errors[i + 1:])).amax(0)
        if (errors[i] > 2 * others + floor(truth)).any():
            sys.exit(f"{key}: float32 version {i} has an error of {errors[i].tolist()}, the others {others.tolist()}")
    return errors.amax(0)


def make(config, seed):
    """Returns all tensors of a case and its metadata, which is one entry, as safetensors writes several in random order."""
    params, tokens, targets = draw(config, seed)
    model = build(config, params, torch.float32, False)
    tensors = {"tokens": tokens.int(), "targets": targets.int()}
    tensors |= {f"param.{n}": nanogpt.hf_view(p, transposed) for n, p, transposed in nanogpt.hf_parameters(model)}
    versions = float32_versions(config, params, tokens, targets, seed)
    for key, truth in evaluate(config, params, tokens, targets, torch.float64).items():
        tensors[key], tensors[f"error.{key}"] = truth, tolerance(key, truth, versions)
    tensors["adamw.lr"] = torch.tensor(learning_rates(), dtype=torch.float64)
    sizes = {k: v for k, v in dataclasses.asdict(config).items() if k != "flash"}
    described = sizes | {"batch": BATCH, "time": TIME, "adamw": ADAMW, "torch": torch.__version__}
    return tensors, {"config": json.dumps(described)}


def check(path, tensors):
    """Another torch or CPU rounds differently, so f64 is compared to 1e-9 and the error tensors by order of magnitude."""
    old = safetensors.torch.load_file(path)
    if old.keys() != tensors.keys():
        sys.exit(f"{path}: tensors differ: {sorted(old.keys() ^ tensors.keys())}")
    for name, x in tensors.items():
        if name.startswith("error."):
            same = bool((old[name] <= 10 * x + 1e-6).all())
        elif "after." in name and name.endswith("c_attn.bias"):
            same = torch.allclose(old[name], x, rtol=0, atol=1e-4)  # the key bias is noise, even in f64
        else:
            same = torch.allclose(old[name].double(), x.double(), rtol=1e-9, atol=1e-9)
        if not same:
            sys.exit(f"{path}: {name} differs from what torch {torch.__version__} computes")
    print(f"{path.name}: {len(old)} tensors agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    args = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, (name, config) in enumerate(CASES.items(), start=1):
        tensors, metadata = make(config, seed)
        path = FOLDER / f"{name}.safetensors"
        if args.check:
            check(path, tensors)
            continue
        safetensors.torch.save_file(tensors, path, metadata)
        print(f"{path.name}: {path.stat().st_size} bytes, loss {tensors['loss']:.4f}, gradient norms "
              f"{[round(x, 2) for x in tensors['adamw.norm'].tolist()]}")


if __name__ == "__main__":
    main()
