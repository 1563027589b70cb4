"""A compact nanoGPT in PyTorch: the baseline that the Rust engine is measured and checked against.

The architecture, the initialisation, the optimiser groups and the schedule are those of nanoGPT
(https://github.com/karpathy/nanoGPT, MIT), implemented from scratch for these scripts: GPT-2 with pre-LayerNorm,
tanh-GELU, a tied head, optional biases (without them LayerNorm has no bias either) and no dropout. Weights are read from
and written to Hugging Face folders, the checkpoint format of logwright.

Other scripts import this file. Run as a program, it trains a tiny model on one batch and checks that a saved model loads
equal (about 10 s):

    python scripts/nanogpt.py

`scripts/requirements.txt` lists the Python packages.

Letters: B batch, T sequence length, C channels, NH heads, HS head size, V vocabulary, L layers.
"""

import dataclasses
import json
import math
import pathlib
import sys
import tempfile

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

IGNORE = -1  # a target that the loss ignores


@dataclasses.dataclass
class Config:
    vocab: int = 512
    context: int = 256
    layers: int = 4
    heads: int = 4
    channels: int = 256
    bias: bool = True
    flash: bool = True  # torch's fused attention; False: the explicit T x T softmax, which rounds differently

    def to_hf(self):
        """Returns the `config.json` of a Hugging Face GPT2LMHeadModel; transformers ignores the additional key `bias`."""
        return {
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
            "vocab_size": self.vocab, "n_positions": self.context, "n_ctx": self.context, "n_embd": self.channels,
            "n_layer": self.layers, "n_head": self.heads, "n_inner": None, "layer_norm_epsilon": 1e-5,
            "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "tie_word_embeddings": True,
            "bos_token_id": None, "eos_token_id": None, "bias": self.bias,
        }

    @staticmethod
    def from_hf(config):
        if config.get("model_type") != "gpt2":
            sys.exit(f"config.json: expected model_type gpt2, found {config.get('model_type')!r}")
        return Config(config["vocab_size"], config["n_positions"], config["n_layer"], config["n_head"],
                      config["n_embd"], config.get("bias", True))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_attn = nn.Linear(c.channels, 3 * c.channels, bias=c.bias)
        self.c_proj = nn.Linear(c.channels, c.channels, bias=c.bias)
        self.heads, self.flash = c.heads, c.flash

    def forward(self, x):
        """x (B, T, C) -> (B, T, C)"""
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.heads, C // self.heads).transpose(1, 2) for y in self.c_attn(x).split(C, 2))
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(2, 3) / math.sqrt(C // self.heads)
            future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            y = scores.masked_fill(future, -math.inf).softmax(3) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_fc = nn.Linear(c.channels, 4 * c.channels, bias=c.bias)
        self.c_proj = nn.Linear(4 * c.channels, c.channels, bias=c.bias)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(c.channels, bias=c.bias), Attention(c)
        self.ln_2, self.mlp = nn.LayerNorm(c.channels, bias=c.bias), Mlp(c)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGpt(nn.Module):
    """GPT-2. `self.transformer` has the module names of Hugging Face, so that parameter names agree."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(config.vocab, config.channels), wpe=nn.Embedding(config.context, config.channels),
            h=nn.ModuleList(Block(config) for _ in range(config.layers)),
            ln_f=nn.LayerNorm(config.channels, bias=config.bias)))
        self.initialise()

    def initialise(self):
        """N(0, 0.02); N(0, 0.02 / sqrt(2 L)) for projections into the residual stream; biases 0, LayerNorm weights 1."""
        residual = 0.02 / math.sqrt(2 * self.config.layers)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0.0, residual if name.endswith("c_proj.weight") else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, tokens, targets=None):
        """Takes tokens and targets (B, T); returns logits and the mean loss over the targets that are not IGNORE.

        With targets, logits are (B, T, V). Without, they are (B, 1, V), of the last position, and the loss is None.
        """
        t = self.transformer
        x = t.wte(tokens) + t.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in t.h:
            x = block(x)
        x = t.ln_f(x)
        if targets is None:
            return F.linear(x[:, [-1], :], t.wte.weight), None
        logits = F.linear(x, t.wte.weight)
        return logits, F.cross_entropy(logits.view(-1, logits.shape[2]), targets.reshape(-1), ignore_index=IGNORE)

    @torch.no_grad()
    def generate(self, tokens, count, temperature=1.0, top_k=None):
        """Appends `count` sampled tokens to tokens (B, T). There is no KV cache: each token computes the whole window."""
        for _ in range(count):
            logits = self(tokens[:, -self.config.context:])[0][:, -1, :] / temperature
            if top_k is not None:
                kth = logits.topk(min(top_k, logits.shape[1])).values[:, [-1]]
                logits[logits < kth] = -math.inf
            tokens = torch.cat((tokens, torch.multinomial(logits.softmax(1), 1)), 1)
        return tokens


def adamw(model, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, eps=1e-8, fused=False):
    """Returns an AdamW that decays only the 2-D tensors (matrices, embeddings)."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=fused)


def set_lr(optimizer, lr):
    for group in optimizer.param_groups:
        group["lr"] = lr


def cosine_lr(step, steps, warmup, peak, floor):
    """nanoGPT's schedule: linear warm-up from peak/(warmup+1), then half a cosine down to `floor` at `steps`."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if step > steps:
        return floor
    done = (step - warmup) / max(1, steps - warmup)
    return floor + 0.5 * (1 + math.cos(math.pi * done)) * (peak - floor)


def hf_parameters(model):
    """Yields (Hugging Face name, parameter, whether it is stored transposed): Conv1D has (in, out), Linear (out, in)."""
    for name, p in model.named_parameters():
        transposed = ".h." in name and name.endswith("weight") and p.dim() == 2
        yield name, p, transposed


def hf_view(p, transposed):
    return p.detach().t().contiguous() if transposed else p.detach().contiguous()


def save(model, folder):
    """Writes config.json and model.safetensors (f32). A model without biases gets zero biases, which HF expects."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: hf_view(p, transposed).float() for name, p, transposed in hf_parameters(model)}
    if not model.config.bias:
        shifts = {n.removesuffix("weight") + "bias": torch.zeros(w.shape[-1])
                  for n, w in tensors.items() if ".wte." not in n and ".wpe." not in n}
        tensors |= shifts
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.config.to_hf(), indent=2) + "\n")


def load(folder, dtype=torch.float32):
    """Reads a Hugging Face GPT-2 folder. With `bias: false` in config.json, biases must be zero and are left out."""
    folder = pathlib.Path(folder)
    config = Config.from_hf(json.loads((folder / "config.json").read_text()))
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors = {n if n.startswith("transformer.") else "transformer." + n: x for n, x in tensors.items()}
    model = NanoGpt(config).to(dtype)
    used = set()
    with torch.no_grad():
        for name, p, transposed in hf_parameters(model):
            if name not in tensors:
                sys.exit(f"{folder}/model.safetensors: found no tensor {name}")
            p.copy_(tensors[name].t() if transposed else tensors[name])
            used.add(name)
    for name in tensors.keys() - used:
        if name.endswith(".bias") and not name.endswith(".attn.bias") and tensors[name].any():
            sys.exit(f"{folder}: config.json says bias: false, but {name} is not zero")
    return model


def _self_test():
    torch.manual_seed(1)
    for bias in (True, False):
        model = NanoGpt(Config(vocab=61, context=32, layers=2, heads=2, channels=32, bias=bias))
        optimizer, tokens = adamw(model, lr=1e-2), torch.randint(61, (2, 33))
        losses = []
        for _ in range(60):
            loss = model(tokens[:, :-1], tokens[:, 1:])[1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with tempfile.TemporaryDirectory() as folder:
            save(model, folder)
            same = torch.equal(load(folder)(tokens[:, :-1])[0], model(tokens[:, :-1])[0])
        longer = model.generate(tokens, 5, top_k=10)
        print(f"bias={bias}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, the loaded model equals the saved one: {same}")
        if not same or losses[0] < 3.5 or losses[-1] > 0.5 or longer.shape != (2, 38):
            sys.exit("self-test failed")


if __name__ == "__main__":
    _self_test()
