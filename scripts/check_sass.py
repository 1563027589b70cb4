#!/usr/bin/env python3
"""Checks the machine code of the attention kernels: tensor cores, 16-byte accesses, no local memory; of those for Hopper
also that products run beside one another, and that no register is touched meanwhile (wgmma_hazards.py).

    scripts/check_sass.py [--mix] path/to/cuobjdump kernels.cubin|kernels.fatbin|text.sass ...

cuobjdump comes with nvcc; a file that ends in .sass is text that it has printed before. The argument may also be its folder; nvdisasm must be in the same folder or on PATH. The script
prints one row for each attention kernel of each file and architecture. It exits with 1 if a kernel breaks a rule, or if it
finds no attention kernel.

--mix adds, for each kernel with HMMA, the instructions of one iteration of its main loop, on the path of a tile that is
fetched and computed, but neither masked nor rescaled. It also estimates the cycles for which a warp occupies each pipe of
its quarter of an SM. `together` is the busiest pipe, which holds if all pipes overlap. `apart` is the sum of all pipes but
issue, divided by the warps that the registers allow, which holds if nothing within a warp overlaps and only other warps
hide it. Each is followed by the share of the tensor cores' peak that it leaves. Nothing is measured: latencies, waits for
global memory and dependencies do not count.

Sources. Lanes per cycle: "Throughput of Native Arithmetic Instructions", CUDA C++ Programming Guide, 8.0 and 9.0. The pipe
of each instruction: pipelines in Nsight Compute's profiling guide. Tensor cores: A100 and H100 white papers, 1024 and 2048
bf16 multiply-adds per cycle and SM. The latter is wgmma's, and mma.sync is reported to stay below it (Luo et al., 2024,
arXiv:2402.13499), so on sm_90a tensor cores limit a kernel more than the table shows. Shared memory: 128 bytes per cycle
for the four quarters of an SM together.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys

import wgmma_hazards

# The columns of a row: the name, and the pattern of the instructions that it counts.
COLUMNS = {
    "HGMMA": r"HGMMA",
    "UTMALDG": r"UTMALDG",
    "UTMASTG": r"UTMASTG",
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
# Before the code of an architecture, cuobjdump prints a kernel's name and, on the next line, its registers.
RESOURCES = re.compile(r"^ Function (\S+):$|^\s+REG:(\d+)")

# The kinds of instructions in a main loop; the first pattern that matches counts. Pattern, pipe, cycles on sm_80 and sm_90a.
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
    """Returns the text that cuobjdump prints for all code in the file."""
    if pathlib.Path(path).suffix == ".sass":
        return pathlib.Path(path).read_text(encoding="utf-8")
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
    """One iteration of the loop with the most HMMA: branches over HMMA or LDGSTS fall through, the others jump."""
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
    """One iteration of the main loop: {kind: instructions}, {pipe: cycles}, warps, bounds (cycles, share of the peak)."""
    kinds, pipes = dict.fromkeys(KINDS, 0), dict.fromkeys(PIPES, 0)
    for _, predicate, op, _ in main_loop(code):
        op = "OFF" if predicate == "@!PT" else op
        kind = next(kind for kind, (pattern, *_) in KINDS.items() if re.match(pattern, op))
        _, pipe, on_80, on_90 = KINDS[kind]
        kinds[kind] += 1
        pipes[pipe] += on_90 if architecture.startswith("sm_9") else on_80
    pipes["issue"] = sum(kinds.values())
    # A warp gets registers in units of 256. A block of four warps has one on each quarter of an SM, which has 512 per lane.
    warps = 512 // -(-registers // 8 * 8)
    together = max(pipes.values())
    apart = max(together, (sum(pipes.values()) - pipes["issue"]) / warps)
    return kinds, pipes, warps, [(cycles, pipes["tensor"] / cycles) for cycles in (together, apart)]


def print_mix(rows):
    """Prints rows of (architecture, kernel, result of `mix`)."""
    print(f"\n{'one iteration of the main loop':<47}", *(f"{kind:>7}" for kind in KINDS), f"{'all':>6}")
    for architecture, kernel, (kinds, pipes, _, _) in rows:
        print(f"{architecture:<12} {kernel:<34}", *(f"{n:>7}" for n in kinds.values()), f"{pipes['issue']:>6}")
    print(f"\n{'estimated cycles':<47}", *(f"{pipe:>7}" for pipe in PIPES), " warps  together        apart")
    for architecture, kernel, (_, pipes, warps, bounds) in rows:
        bounds = (f"{cycles:>7.0f} {share:>5.0%}" for cycles, share in bounds)
        print(f"{architecture:<12} {kernel:<34}", *(f"{n:>7}" for n in pipes.values()), f"{warps:>6}", *bounds)


def hopper_rules(code, n):
    """Whether each rule for a kernel with wgmma is broken; n is its count for each of COLUMNS."""
    rules = {
        "has no product of a warpgroup (HGMMA)": n["HGMMA"] == 0,
        "loads no box (UTMALDG)": n["UTMALDG"] == 0,
        "stores no box (UTMASTG)": n["UTMASTG"] == 0,
        # ptxas does so where it cannot prove that nobody touches the registers, and says it only in its notes.
        "waits for every product by itself": 2 * sum("gsb0" in line[3] for line in code if line[2].startswith("HGMMA"))
        > n["HGMMA"],
    }
    try:
        for product, touch, words in wgmma_hazards.hazards(code):
            rules[f"touches registers of the product at {product:#x} before its wait, at {touch:#x}: {words}"] = True
    except wgmma_hazards.Unknown as unknown:
        rules[f"has {unknown}"] = True
    return rules


def broken_rules(kernel, code, n):
    """The rules that a kernel breaks; n is its count for each of COLUMNS."""
    rules = {"uses local memory (spills, or an array indexed at run time)": n["LDL+STL"] > 0}
    if kernel.startswith("attention_hopper_"):
        rules |= hopper_rules(code, n)
    elif "_rows_" in kernel:
        rules["never loads 16 bytes at once (LDG.128)"] = n["LDG.128"] == 0
    else:
        rules["has no tensor core instruction (HMMA)"] = n["HMMA"] == 0
        rules["has no ldmatrix (LDSM)"] = n["LDSM"] == 0
        rules["has no 16-byte cp.async (LDGSTS.128)"] = n["LDGSTS.128"] == 0
        rules["has a cp.async of less than 16 bytes"] = n["LDGSTS"] != n["LDGSTS.128"]
        rules["never stores 16 bytes at once (STG.128)"] = n["STG.128"] == 0
        # The forward kernel stores log-sum-exps one by one: at most two rows of two pieces per lane.
        rules["stores its matrix in small pieces (STG)"] = n["STG"] - n["STG.128"] > 4
    return [rule for rule, broken in rules.items() if broken]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cuobjdump", type=pathlib.Path)
    parser.add_argument("binaries", nargs="+", metavar="binary")
    parser.add_argument("--mix", action="store_true", help="also print the instructions of the main loops")
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
            failures += [f"{kernel} ({architecture}) {rule}" for rule in broken_rules(kernel, code, n)]
            if options.mix and n["HMMA"] and not n["HGMMA"]:
                mixes.append((architecture, kernel, mix(architecture, code, registers)))
    if mixes:
        print_mix(mixes)
    if checked == 0:
        files = ", ".join(options.binaries)
        failures = [f"no attention kernel in {files}: pass the files built from kernels/attention_*.cu"]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"error: {error}")
