#!/usr/bin/env python3
"""Many clients at once against `logwright serve`: every answer is compared with that of `logwright score`.

    usage: load_serve.py PROGRAM RUN LOG [--clients 64] [--seconds 60] [--lines 4] [--batch 16]

Starts a server of the model RUN on a free port. Each client sends some lines of LOG (those of its own part, in turn) as one
request, waits for the answer, compares it with what `logwright score` prints for the same lines, and begins anew. Now and then a client breaks off in
the middle, sends half a request and stalls, or sends what is no log. Prints one JSON line: requests, records/s, the mean batch, times of
requests (p50, p99, in ms), and the server's memory (MiB) after a sixth of the time and at the end. The exit code is 1 if an answer
was lost, doubled, out of order, or another than that of `score`. Only the standard library is needed.
"""

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def expected_answers(program: str, run: str, parts: list[bytes]) -> list[bytes]:
    """What `score` prints of each part."""
    answers = []
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        for part in parts:
            Path(file.name).write_bytes(part)
            answers.append(subprocess.run([program, "score", "--model", run, file.name, "--quiet"], check=True, capture_output=True).stdout)
    return answers


async def ask(port: int, body: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own: status and content."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /score HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")
        raw = await reader.read()
        status = int(head.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" not in head.lower():
            return status, raw
        content, at = b"", 0
        while True:
            end = raw.index(b"\r\n", at)
            size = int(raw[at:end], 16)
            if size == 0:
                return status, content
            content += raw[end + 2 : end + 2 + size]
            at = end + 2 + size + 2
    finally:
        writer.close()


async def misbehave(port: int, body: bytes, chance: random.Random) -> None:
    """A client that breaks off, or sends what is no log."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    kind = chance.randrange(3)
    if kind == 0:
        writer.write(b"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (2 * len(body)))
        writer.write(body)
        await asyncio.sleep(0.2)
    elif kind == 1:
        writer.write(b"POST /sco")
        await asyncio.sleep(0.2)
    else:
        writer.write(b"POST /score HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\n\xff\x00\xfe\x1f\x8b")
        await reader.read()
    writer.close()


def memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


async def load(args, port: int, pid: int, parts: list[bytes], answers: list[bytes]) -> dict:
    end = time.monotonic() + args.seconds
    times, wrong, busy = [], [], 0
    memory = []

    async def client(number: int) -> None:
        nonlocal busy
        chance = random.Random(number)
        mine = range(number, len(parts), args.clients)
        while time.monotonic() < end:
            for part in mine:
                if chance.random() < 0.02:
                    await misbehave(port, parts[part], chance)
                started = time.monotonic()
                try:
                    status, content = await ask(port, parts[part])
                except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                    wrong.append(f"part {part}: {error!r}")
                    continue
                if status == 429:
                    busy += 1
                    await asyncio.sleep(1)
                    continue
                times.append(time.monotonic() - started)
                if status != 200 or content != answers[part]:
                    wrong.append(f"part {part}: status {status}, {content[:200]!r}")
                if time.monotonic() >= end:
                    return

    async def watch() -> None:
        await asyncio.sleep(args.seconds / 6)
        memory.append(memory_mib(pid))

    await asyncio.gather(watch(), *(client(number) for number in range(args.clients)))
    memory.append(memory_mib(pid))
    return {"times": sorted(times), "wrong": wrong, "busy": busy, "memory": memory}


def metric(port: int, name: str) -> float:
    import urllib.request

    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("run")
    parser.add_argument("log")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--lines", type=int, default=4, help="lines of a request")
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    lines = Path(args.log).read_bytes().splitlines(keepends=True)[: args.clients * 2 * args.lines]
    parts = [b"".join(lines[at : at + args.lines]) for at in range(0, len(lines), args.lines)]
    if len(parts) < args.clients:
        sys.exit(f"{args.log}: {len(parts)} parts of {args.lines} lines are too few for {args.clients} clients")
    answers = expected_answers(args.program, args.run, parts)
    command = [args.program, "serve", "--model", args.run, "--listen", "127.0.0.1:0", "--batch", str(args.batch), "--max-requests", "256"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    port = None
    for line in server.stderr:
        port = port or (re.search(r"listening on http://[^:]+:(\d+)", line) or [None, None])[1]
        if line.rstrip().endswith("ready"):
            break
    # The messages must be read, or the server waits.
    import threading

    threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
    started = time.monotonic()
    result = asyncio.run(load(args, int(port), server.pid, parts, answers))
    seconds, times = time.monotonic() - started, result["times"]
    batches = metric(int(port), "logwright_batches_total")
    summary = {
        "clients": args.clients,
        "requests": len(times),
        "records_per_second": round(len(times) * args.lines / seconds, 1),
        "mean_batch": round(metric(int(port), "logwright_batch_records_total") / batches, 2),
        "p50_ms": round(1e3 * times[len(times) // 2], 1),
        "p99_ms": round(1e3 * times[len(times) * 99 // 100], 1),
        "refused_429": result["busy"],
        "wrong": len(result["wrong"]),
        "memory_mib": [round(value, 1) for value in result["memory"]],
    }
    server.terminate()
    summary["exit_code"] = server.wait(timeout=90)
    print(json.dumps(summary))
    for line in result["wrong"][:5]:
        print(line, file=sys.stderr)
    return 1 if result["wrong"] or summary["exit_code"] else 0


if __name__ == "__main__":
    sys.exit(main())
