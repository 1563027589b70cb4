"""Checks that transformers loads a logwright checkpoint and computes the same tokens, logits and loss.

    python scripts/check_hf.py RUN --text access.log          # RUN or a Hugging Face folder such as RUN/best
    python scripts/check_hf.py RUN                            # the text is sampled from the model itself
    python scripts/check_hf.py RUN --roundtrip                # checks the reverse as well, see below

The script loads the folder with transformers (AutoModelForCausalLM, AutoTokenizer), calls `logwright evaluate --model
FOLDER --text FILE --logits OUT`, and compares. The text is a stream of tokens: a newline, then each line with its newline.
Windows of `context` tokens that do not overlap predict the next token at each position. These conditions must hold:

    tokens of the first window    are equal; encoding the text as a whole gives the same tokens as line by line
    logits of the first window    largest error <= 2 * that of transformers in f32 + 2^-23 * max|logit|
    loss (mean nats per token)    error <= 2 * mean error of a token's loss in transformers' f32 + 2^-23 * loss

An error is the distance to the same weights evaluated in f64; the error of f32 is the larger of those of transformers'
attention implementations `sdpa` and `eager`. The exit code is 0 if all conditions hold, else 1.

A folder that logwright wrote is then used as transformers' users do: the pipeline without settings and with a batch of prompts,
padding, and generation to the end of the context and beyond.

--roundtrip saves a small, randomly initialised GPT2LMHeadModel (with biases, none of them zero) with transformers,
together with the tokenizer of RUN, and checks logwright on it by the same conditions. A small model takes seconds; the
text passes through transformers three times, once of them in f64. `scripts/requirements.txt` lists the Python packages.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
import transformers
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def hf_folder(run):
    """The first of RUN/best, RUN/last and RUN that contains a config.json."""
    for folder in (run / "best", run / "last", run):
        if (folder / "config.json").is_file():
            return folder
    sys.exit(f"{run}: expected a config.json in it or in its best/ or last/, found none")


def load_model(folder, dtype, attention):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention)
    return model.to(dtype).eval()


def encode(tokenizer, lines):
    """The stream of tokens: a newline, then each line with its newline."""
    def plain(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    newline = plain("\n")
    if len(newline) != 1:
        sys.exit(f"expected the tokenizer to encode a newline as one token, found {newline}")
    stream = list(newline)
    for line in lines:
        stream += plain(line) + newline
    whole = plain("\n" + "".join(line + "\n" for line in lines))
    if whole != stream:
        at = next((i for i, (a, b) in enumerate(zip(whole, stream)) if a != b), min(len(whole), len(stream)))
        sys.exit(f"the tokens of the whole text differ from those line by line, from token {at} on: a newline was merged")
    return torch.tensor(stream)


@torch.no_grad()
def evaluate(model, stream):
    """Takes stream (n + 1); returns logits of the first window (T, V) and losses of all predicted tokens (n), nats, f64."""
    context, first, losses = model.config.n_positions, None, []
    for start in range(0, len(stream) - 1, context):
        inputs = stream[start:start + context][:len(stream) - 1 - start]
        targets = stream[start + 1:start + 1 + len(inputs)]
        logits = model(inputs[None]).logits[0].double()
        first = logits if first is None else first
        losses.append(F.cross_entropy(logits, targets, reduction="none"))
    return first, torch.cat(losses)


def logwright(binary, folder, lines):
    """Runs `logwright evaluate` on the text; returns loss, number of predicted tokens, logits (T, V) and tokens (T)."""
    with tempfile.TemporaryDirectory() as temporary:
        text, logits = pathlib.Path(temporary, "text.log"), pathlib.Path(temporary, "logits.safetensors")
        text.write_bytes("".join(line + "\n" for line in lines).encode())
        command = [binary, "evaluate", "--model", folder, "--text", text, "--logits", logits]
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}")
        result, tensors = json.loads(done.stdout), safetensors.torch.load_file(logits)
    return result["loss"], result["tokens"], tensors["logits"].double(), tensors["tokens"].long()


def report(what, found, allowed, detail=""):
    """Prints one line and returns whether `found` is at most `allowed`; a NaN never is."""
    good = found <= allowed
    print(f"  {'ok  ' if good else 'FAIL'} {what}: error {found:.3g}, allowed {allowed:.3g}{detail}")
    return good


def check(binary, folder, lines):
    """Compares logwright and transformers on one folder and text, and returns whether they agree."""
    stream = encode(transformers.AutoTokenizer.from_pretrained(folder), lines)
    truth_logits, truth_losses = evaluate(load_model(folder, torch.float64, "eager"), stream)
    f32 = [evaluate(load_model(folder, torch.float32, attention), stream) for attention in ("sdpa", "eager")]
    loss, count, logits, tokens = logwright(binary, folder, lines)

    print(f"{folder}: {len(lines)} lines, {len(stream)} tokens")
    first = len(truth_logits)
    if count != len(stream) - 1 or logits.shape != truth_logits.shape or len(tokens) != first:
        print(f"  FAIL sizes: logwright predicts {count} tokens, its first window has {len(tokens)}, logits "
              f"{tuple(logits.shape)}; transformers {len(stream) - 1}, {first}, {tuple(truth_logits.shape)}")
        return False
    if not torch.equal(tokens, stream[:first]):
        at = (tokens != stream[:first]).nonzero()[0].item()
        print(f"  FAIL tokens: token {at} is {tokens[at]} in logwright, {stream[at]} in transformers")
        return False
    print(f"  ok   tokens: equal in the first window ({first})")
    naive = max((x - truth_logits).abs().max() for x, _ in f32)
    allowed = 2 * naive + truth_logits.abs().max() * 2.0**-23
    good = report("logits", (logits - truth_logits).abs().max().item(), allowed.item())
    truth = truth_losses.mean()
    allowed = 2 * max((x - truth_losses).abs().mean() for _, x in f32) + truth * 2.0**-23
    return report("loss", abs(loss - truth).item(), allowed.item(), f"; {loss:.7f} nats per token") and good


@torch.no_grad()
def sample_lines(folder, seed, tokens=300):
    """Samples text from the model, so that the tokenizer can encode it; bytes that do not decode are dropped."""
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model, ids = load_model(folder, torch.float32, "sdpa"), torch.tensor([tokenizer("\n", add_special_tokens=False)["input_ids"]])
    for _ in range(tokens):
        logits = model(ids[:, -model.config.n_positions:]).logits[:, -1]
        ids = torch.cat((ids, torch.multinomial(logits.softmax(1), 1)), 1)
    text = tokenizer.decode(ids[0].tolist()).replace("\ufffd", "").replace("\r", "")
    return [line for line in text.split("\n") if line]


def holds(what, is_good, detail=""):
    """Prints one line and returns whether the condition holds."""
    print(f"  {'ok  ' if is_good else 'FAIL'} {what}{detail}")
    return is_good


@torch.no_grad()
def check_use(folder, lines):
    """Checks that the folder works in transformers as it is: without settings, in batches, with padding, and to the end of the context."""
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(folder), load_model(folder, torch.float32, "sdpa")
    context, newline = model.config.n_positions, model.config.eos_token_id
    settings = model.generation_config
    tokens = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, settings.eos_token_id, settings.pad_token_id)
    good = holds("newline begins, ends and fills texts", set(tokens) == {newline} and tokenizer("")["input_ids"] == [newline])
    good &= holds("model_max_length is the context", tokenizer.model_max_length == context and settings.max_length == context)

    # The last logits of a text do not depend on the longer text beside it.
    short, long = lines[0][:10], lines[0][:40]
    batch = tokenizer([short, long], padding=True, return_tensors="pt")
    apart = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits[:, -1] for text in (short, long)])
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    difference = (model(**batch, position_ids=positions).logits[:, -1] - apart).abs().max().item()
    good &= report("logits of a padded batch", difference, 1e-4 * apart.abs().max().item())

    generate = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    transformers.set_seed(1)
    one = generate("")[0]["generated_text"]
    length = model.generate(torch.tensor([[newline]])).shape[1]
    good &= holds("it generates one record without settings", "\n" not in one and length <= context, f": {one[:60]!r}")
    prompts = [lines[0][:10], lines[0][:20], ""]
    many = generate(prompts, batch_size=len(prompts), max_length=context)
    texts = [found[0]["generated_text"] for found in many]
    good &= holds("it continues a batch of prompts", all(text.startswith(prompt) for text, prompt in zip(texts, prompts)))

    # A record that ends by itself does so whatever the limit is; one that does not is cut off at max_length.
    try:
        generate([""] * 4, batch_size=4, max_new_tokens=4 * context)
        print("  ok   max_new_tokens beyond the context: all records ended before its end")
    except IndexError:
        print("  note max_new_tokens beyond the context: a record did not end; give max_length, or use logwright generate")
    cut = model.generate(torch.tensor([[newline]]), max_length=context, eos_token_id=None)
    return holds("max_length fills the whole context", cut.shape == (1, context)) and good


@torch.no_grad()
def random_hf_folder(tokenizer_folder, folder):
    """Saves a random GPT-2 with transformers; its weights spread widely, so that the logits are far from uniform."""
    transformers.set_seed(1)
    vocabulary = len(transformers.AutoTokenizer.from_pretrained(tokenizer_folder))
    config = transformers.GPT2Config(vocab_size=vocabulary, n_positions=48, n_embd=48, n_layer=2, n_head=3,
                                     initializer_range=0.15, bos_token_id=None, eos_token_id=None)
    model = transformers.GPT2LMHeadModel(config)
    for p in model.parameters():
        if p.dim() == 1:
            p.add_(0.1 * torch.randn(p.shape))
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).exists():
            shutil.copy(tokenizer_folder / name, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=pathlib.Path, help="a run folder or a Hugging Face folder")
    parser.add_argument("--text", type=pathlib.Path, help="a text file with one record per line (empty lines are dropped)")
    parser.add_argument("--roundtrip", action="store_true", help="also check a model that transformers saved")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sampled text")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch; one suits small models or busy machines")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/logwright")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    if not args.binary.exists():
        parser.error(f"{args.binary} does not exist: run `cargo build --release`")
    folder = hf_folder(args.run)
    lines = args.text.read_bytes().decode().split("\n") if args.text else sample_lines(folder, args.seed)
    lines = [line.removesuffix("\r") for line in lines]
    lines = [line for line in lines if line]
    if not lines:
        sys.exit(f"{args.text or 'the sampled text'}: expected at least one line of text, found none")
    good = check(args.binary, folder, lines)
    if "pad_token" in json.loads((folder / "tokenizer_config.json").read_text()):
        good = check_use(folder, lines) and good
    if args.roundtrip:
        with tempfile.TemporaryDirectory() as temporary:
            random_hf_folder(folder, pathlib.Path(temporary))
            good = check(args.binary, pathlib.Path(temporary), lines) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
