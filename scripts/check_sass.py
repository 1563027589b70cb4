#!/usr/bin/env python3
"""Checks the machine code of the attention kernels: tensor cores, 16-byte accesses, no local memory.

    scripts/check_sass.py path/to/cuobjdump kernels.cubin|kernels.fatbin ...

cuobjdump comes with nvcc (its folder may be named instead; nvdisasm must lie in it too, or on PATH). Prints one row for
each attention kernel of each file and architecture; exits with 1 when a kernel breaks a rule, or when there is none.
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
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")


def disassemble(cuobjdump, path):
    """The text that cuobjdump prints for all code in the file."""
    if cuobjdump.is_dir():
        cuobjdump = cuobjdump / "cuobjdump"
    tools = f"{cuobjdump.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run = subprocess.run(
        [cuobjdump, "-sass", path], env=os.environ | {"PATH": tools}, capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        raise OSError(f"{cuobjdump} -sass {path}: {(run.stderr or run.stdout).strip()}")
    return run.stdout


def count(sass):
    """{(architecture, kernel): Counter of opcodes}"""
    kernels, architecture, current = {}, "?", None
    for line in sass.splitlines():
        if match := ARCHITECTURE.search(line):
            architecture = match[1] or match[2]
        elif match := FUNCTION.search(line):
            current = kernels.setdefault((architecture, match[1]), collections.Counter())
        elif current is not None and (match := INSTRUCTION.match(line)):
            current[match[1]] += 1
    return kernels


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
    options = parser.parse_args()
    print(f"{'architecture':<12} {'kernel':<34}", *(f"{name:>10}" for name in COLUMNS))
    checked, failures = 0, []
    for binary in options.binaries:
        for (architecture, kernel), opcodes in count(disassemble(options.cuobjdump, binary)).items():
            if not kernel.startswith("attention_"):
                continue
            checked += 1
            n = {
                name: sum(times for opcode, times in opcodes.items() if re.match(pattern, opcode))
                for name, pattern in COLUMNS.items()
            }
            print(f"{architecture:<12} {kernel:<34}", *(f"{times:>10}" for times in n.values()))
            failures += [f"{kernel} ({architecture}) {rule}" for rule in broken_rules(kernel, n)]
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
