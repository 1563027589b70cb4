#!/usr/bin/env python3
"""Checks the machine code of the attention kernels: tensor cores, 16-byte accesses, no local memory.

    scripts/check_sass.py [--mix] path/to/cuobjdump kernels.cubin|kernels.fatbin ...

cuobjdump comes with nvcc (its folder may be named instead; nvdisasm must lie in it too, or on PATH). Prints one row for
each attention kernel of each file and architecture; exits with 1 when a kernel breaks a rule, or when there is none.

--mix adds, for each kernel with HMMA, what one turn of its main loop is made of, on the path of a tile that is fetched
and computed, neither masked nor rescaled, and an estimate of the cycles for which a warp holds each pipe of its quarter
of an SM. `together`: the busiest pipe, if all overlap; `apart`: all pipes but issue, if nothing in a warp overlaps, but
as many warps as the registers allow hide one another. Behind each, the share of the tensor cores' peak that is left.
Nothing is measured: no latencies, no waiting for global memory, no dependencies.

Sources. Lanes per cycle: "Throughput of Native Arithmetic Instructions", CUDA C++ Programming Guide, 8.0 and 9.0. Which
instruction runs on which pipe: pipelines in Nsight Compute's profiling guide. Tensor cores: A100 and H100 white papers,
1024 and 2048 bf16 multiply-adds per cycle and SM; the latter is wgmma's, and mma.sync is reported to stay below it
(Luo et al., 2024, arXiv:2402.13499): on sm_90a tensor cores bind more than shown. Shared memory: 128 bytes per cycle
for the four quarters of an SM together.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys

# What a row shows: a name, and which instructions it counts.
COLUMNS = {
    "HMMA": r"HMMA",
    "LDSM": r"LDSM",
    "LDGSTS.128": r"LDGSTS.*\.128",
    "LDGSTS": r"LDGSTS",
    "LDG.128": r"LDG\..*128",
    "LDG": r"LDG\.",
    "STG.128": r"STG\..*128",
    "STG": r"STG",
    "LDL+STL": r"LDL|STL",
}

FUNCTION = re.compile(r"Function : (\S+)")
ARCHITECTURE = re.compile(r"arch = (\S+)|code for (\S+)")
# An instruction's line: /*address*/ @predicate OPCODE operands;
INSTRUCTION = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*)")
# Ahead of the code of an architecture: the kernel's name, and on the next line its registers.
RESOURCES = re.compile(r"^ Function (\S+):$|^\s+REG:(\d+)")

# Kinds of instructions of a main loop, the first that fits: pattern, pipe, cycles of it on sm_80 and on sm_90a.
KINDS = {
    "HMMA": (r"HMMA", "tensor", 8, 4),
    "LDSM": (r"LDSM", "shared", 16, 16),
    "LDGSTS": (r"LDGSTS", "shared", 16, 16),
    "LDS": (r"LDS|STS", "shared", 4, 4),
    "SHFL": (r"SHFL", "shared", 4, 4),
    "MUFU": (r"MUFU", "mufu", 8, 8),
    "F2FP": (r"F2FP", "alu", 2, 2),
    "FMNMX": (r"FMNMX", "alu", 2, 2),
    "MOV": (r"IMAD\.MOV|HFMA2", "fma", 2, 2),
    "IMAD": (r"IMAD", "fma", 2, 2),
    "FP32": (r"FFMA|FADD|FMUL", "fma", 2, 1),
    "control": (r"BRA|BSSY|BSYNC|WARPSYNC|BAR|L?D?G?DEPBAR|CALL|NOP|U[A-Z]|R2UR|S2UR|OFF", "issue", 0, 0),
    "integer": (r"", "alu", 2, 2),
}
PIPES = ["tensor", "shared", "mufu", "fma", "alu", "issue"]


def disassemble(cuobjdump, path):
    """The text that cuobjdump prints for all code in the file."""
    if cuobjdump.is_dir():
        cuobjdump = cuobjdump / "cuobjdump"
    tools = f"{cuobjdump.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command, environment = [cuobjdump, "-sass", "-res-usage", path], os.environ | {"PATH": tools}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise OSError(f"{cuobjdump} -sass {path}: {(run.stderr or run.stdout).strip()}")
    return run.stdout


def parse(sass):
    """{(architecture, kernel): (registers, [(address, predicate, opcode, operands), ...])}"""
    kernels, registers, architecture, name, current = {}, {}, "?", None, None
    for line in sass.splitlines():
        if match := ARCHITECTURE.search(line):
            architecture = match[1] or match[2]
        elif match := FUNCTION.search(line):
            _, current = kernels[architecture, match[1]] = registers[match[1]], []
        elif match := RESOURCES.search(line):
            name = match[1] or name
            registers[name] = int(match[2] or 0)
        elif current is not None and (match := INSTRUCTION.match(line)):
            current.append((int(match[1], 16), (match[2] or "").strip(), match[3], match[4]))
    return kernels


def main_loop(code):
    """Instructions of one turn of the loop with most HMMA: branches over HMMA or LDGSTS fall through, others jump."""
    jumps = [(at, int(to, 16)) for at, _, op, to in code if op == "BRA" and re.fullmatch(r"0x[0-9a-f]+\s*", to)]

    def between(low, high):
        return [line for line in code if low <= line[0] < high]

    loops = [(to, at) for at, to in jumps if to < at]
    tensor = {loop: sum(op.startswith("HMMA") for _, _, op, _ in between(*loop)) for loop in loops}
    begin, end = max(loops, key=lambda loop: (tensor[loop], loop[0] - loop[1]))
    path, at, jumps = [], begin, dict(jumps)
    for line in between(begin, end + 1):
        if line[0] < at:
            continue
        path.append(line)
        to = jumps.get(line[0], begin)
        skipped = {op.split(".")[0] for _, _, op, _ in between(line[0], to)}
        if line[0] < to <= end and (not line[1] or not skipped & {"HMMA", "LDGSTS"}):
            at = to
    return path


def mix(architecture, code, registers):
    """One turn of the main loop: {kind: instructions}, {pipe: cycles}, warps, (cycles, share of the peak) of bounds."""
    kinds, pipes = dict.fromkeys(KINDS, 0), dict.fromkeys(PIPES, 0)
    for _, predicate, op, _ in main_loop(code):
        op = "OFF" if predicate == "@!PT" else op
        kind = next(kind for kind, (pattern, *_) in KINDS.items() if re.match(pattern, op))
        _, pipe, on_80, on_90 = KINDS[kind]
        kinds[kind] += 1
        pipes[pipe] += on_90 if architecture.startswith("sm_9") else on_80
    pipes["issue"] = sum(kinds.values())
    # Registers are handed out to warps by 256; a block of four warps has one on each quarter, with 512 for each lane.
    warps = 512 // -(-registers // 8 * 8)
    together = max(pipes.values())
    apart = max(together, (sum(pipes.values()) - pipes["issue"]) / warps)
    return kinds, pipes, warps, [(cycles, pipes["tensor"] / cycles) for cycles in (together, apart)]


def print_mix(rows):
    """rows: (architecture, kernel, what `mix` gives)"""
    print(f"\n{'one turn of the main loop':<47}", *(f"{kind:>7}" for kind in KINDS), f"{'all':>6}")
    for architecture, kernel, (kinds, pipes, _, _) in rows:
        print(f"{architecture:<12} {kernel:<34}", *(f"{n:>7}" for n in kinds.values()), f"{pipes['issue']:>6}")
    print(f"\n{'estimated cycles':<47}", *(f"{pipe:>7}" for pipe in PIPES), " warps  together        apart")
    for architecture, kernel, (_, pipes, warps, bounds) in rows:
        bounds = (f"{cycles:>7.0f} {share:>5.0%}" for cycles, share in bounds)
        print(f"{architecture:<12} {kernel:<34}", *(f"{n:>7}" for n in pipes.values()), f"{warps:>6}", *bounds)


def broken_rules(kernel, n):
    """What is wrong with a kernel; n: its count for each of COLUMNS."""
    rules = {"uses local memory (spills, or an array indexed at run time)": n["LDL+STL"] > 0}
    if "_rows_" in kernel:
        rules["reads no 16 bytes at a time (LDG.128)"] = n["LDG.128"] == 0
    else:
        rules["has no tensor core instruction (HMMA)"] = n["HMMA"] == 0
        rules["has no ldmatrix (LDSM)"] = n["LDSM"] == 0
        rules["has no 16-byte cp.async (LDGSTS.128)"] = n["LDGSTS.128"] == 0
        rules["has a cp.async of less than 16 bytes"] = n["LDGSTS"] != n["LDGSTS.128"]
        rules["stores no 16 bytes at a time (STG.128)"] = n["STG.128"] == 0
        # The forward kernel's log-sum-exps leave one by one: at most two rows of two pieces to a lane.
        rules["stores its matrix in small pieces (STG)"] = n["STG"] - n["STG.128"] > 4
    return [rule for rule, broken in rules.items() if broken]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cuobjdump", type=pathlib.Path)
    parser.add_argument("binaries", nargs="+", metavar="binary")
    parser.add_argument("--mix", action="store_true", help="also print what the main loops are made of")
    options = parser.parse_args()
    print(f"{'architecture':<12} {'kernel':<34}", *(f"{name:>10}" for name in COLUMNS))
    checked, failures, mixes = 0, [], []
    for binary in options.binaries:
        kernels = parse(disassemble(options.cuobjdump, binary))
        for (architecture, kernel), (registers, code) in kernels.items():
            if not kernel.startswith("attention_"):
                continue
            checked += 1
            opcodes = collections.Counter(op for _, _, op, _ in code)
            n = {
                name: sum(times for opcode, times in opcodes.items() if re.match(pattern, opcode))
                for name, pattern in COLUMNS.items()
            }
            print(f"{architecture:<12} {kernel:<34}", *(f"{times:>10}" for times in n.values()))
            failures += [f"{kernel} ({architecture}) {rule}" for rule in broken_rules(kernel, n)]
            if options.mix and n["HMMA"]:
                mixes.append((architecture, kernel, mix(architecture, code, registers)))
    if mixes:
        print_mix(mixes)
    if checked == 0:
        files = ", ".join(options.binaries)
        failures = [f"no attention kernel in {files}: name what was built from kernels/attention_*.cu"]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"error: {error}")
