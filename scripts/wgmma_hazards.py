"""Finds registers of a wgmma that its kernel touches while the product is under way, in machine code of Hopper.

A wgmma (HGMMA in machine code) runs beside its warp: until a wait that covers its group (WARPGROUP.DEPBAR), nobody may
read or write its sums, nor write a left side that lies in registers. The source may keep to that and the code not, since
ptxas places registers and moves instructions. `hazards` follows every path from each product to a wait that covers it.

It knows the instructions that the project's kernels consist of; of another one it says so, rather than guess what it reads
and writes.
"""

import re

# Instructions that write no register of a thread: stores, branches, barriers, predicates, what is uniform to a warp.
WRITES_NONE = re.compile(
    r"ST[GSL]?\b|SYNCS|BAR|BRA|BRX|WARP|UTMA|UBLKCP|FENCE|MEMBAR|NOP|EXIT|BSSY|BSYNC|BREAK|[IF]SETP|PLOP3|NANOSLEEP|R2UR"
    r"|VOTEU?\b|ERRBAR|CCTL|BPT|RET|CALL|DEPBAR|LDGDEPBAR|LDGSTS|USETMAXREG|RED|YIELD|ELECT|U[A-Z]|R2P"
)
# Instructions that write one register, the first that they name, unless WIDTHS says how many.
WRITES_FIRST = re.compile(
    r"FFMA|FMUL|FADD|FSEL|FMNMX|MUFU|F2FP|F2I|I2F|I2FP|IMAD|IADD3|IADD|VIADD|VIADDMNMX|VIMNMX|LOP3|LEA|SHF|SEL|PRMT|MOV|"
    r"IABS|IMNMX|POPC|FLO|S2R|CS2R|LDC|LDS|LDG|LDL|LDSM|SHFL|HMMA|HFMA2|P2R|LD\b"
)
# Registers of the destination; of each source in turn (the last counts for the rest).
WIDTHS = [
    (r"HMMA\.16816\.F32", 4, (4, 2, 4)),
    (r"LDSM.*\.4", 4, (1,)),
    (r"LDSM.*\.2", 2, (1,)),
    (r"CS2R(?!\.32)", 2, (1,)),
    (r"IMAD\.WIDE", 2, (1, 1, 2)),
    (r"LD[GSCL]?\b.*\.128", 4, (1,)),
    (r"LD[GSCL]?\b.*\.64", 2, (1,)),
    (r"ST[GSL]?\b.*\.128", 0, (1, 4)),
    (r"ST[GSL]?\b.*\.64", 0, (1, 2)),
]
REGISTER = re.compile(r"(?<![\w.])R(\d+)(\.64)?(?!\d)")


class Unknown(ValueError):
    """An instruction whose registers are not known."""


def registers(opcode, operands):
    """(written, read): the numbers of the registers of an instruction other than HGMMA."""
    named = [(int(number), 2 if wide else 1) for number, wide in REGISTER.findall(operands)]
    _, to, sources = next((row for row in WIDTHS if re.match(row[0], opcode)), (None, 1, (1,)))
    written = set()
    if WRITES_FIRST.match(opcode):
        # Predicates may come before the destination; RZ is nobody's.
        first = re.match(r"\s*(?:!?U?P[\dT]\s*,\s*)*(?:R(\d+)|(RZ))", operands)
        if first and first[1]:
            written = set(range(int(first[1]), int(first[1]) + to))
            named = named[1:]
    elif not WRITES_NONE.match(opcode) and named:
        raise Unknown(f"{opcode} {operands.strip()}: an instruction that wgmma_hazards.py does not know")
    read = set()
    for place, (number, width) in enumerate(named):
        read |= set(range(number, number + max(width, sources[min(place, len(sources) - 1)])))
    return written, read


class Product:
    """The registers of an HGMMA, and whether it ends a group."""

    def __init__(self, opcode, operands):
        columns = int(re.search(r"64x(\d+)x", opcode)[1])
        to, left = (part.strip() for part in operands.split(",")[:2])
        first = int(re.match(r"R(\d+)", to)[1])
        self.sums = set(range(first, first + columns // 2))
        in_registers = re.match(r"R(\d+)", left)
        self.left = set(range(int(in_registers[1]), int(in_registers[1]) + 4)) if in_registers else set()
        self.ends_group = "gsb0" in operands


def successors(code):
    """For each instruction the places of those that may come next. A call comes back, and is followed too."""
    places = {address: place for place, (address, *_) in enumerate(code)}
    follow = []
    for place, (_, predicate, opcode, operands) in enumerate(code):
        target = re.search(r"0x([0-9a-f]+)\s*$", operands) if re.match(r"BRA|CALL|WARPSYNC\.COLL", opcode) else None
        next_ones = [places[int(target[1], 16)]] if target and int(target[1], 16) in places else []
        alone = opcode == "BRA" and re.fullmatch(r"\s*0x[0-9a-f]+\s*", operands)
        ends = not predicate and (alone or re.match(r"EXIT|RET|BPT", opcode))
        if not ends and place + 1 < len(code):
            next_ones.append(place + 1)
        follow.append(next_ones)
    return follow


def touches(product, other):
    """What is wrong with an instruction while the product is under way: None, or words."""
    if isinstance(other, Product):
        if other.sums & product.left:
            return "another product writes the left side"
        if other.left & product.sums:
            return "another product takes the sums as its left side"
        # Products that add to the same sums wait for each other.
        return "another product has some of the sums" if other.sums & product.sums not in (set(), product.sums) else None
    written, read = other
    if (written | read) & product.sums:
        return "sums touched"
    return "left side overwritten" if written & product.left else None


def hazards(code):
    """[(address of the product, address of what touches its registers, words)] of a kernel's code, a list of (address,
    predicate, opcode, operands)."""
    parsed = []
    for _, _, opcode, operands in code:
        is_product = opcode.startswith("HGMMA")
        parsed.append(Product(opcode, operands) if is_product else registers(opcode, operands))
    follow, found = successors(code), set()
    for start, product in enumerate(parsed):
        if not isinstance(product, Product):
            continue
        # Where a path has come, whether the product's group has ended, and how many groups have ended behind it.
        seen, paths = set(), [(place, product.ends_group, 0) for place in follow[start]]
        while paths:
            path = paths.pop()
            if path in seen:
                continue
            seen.add(path)
            place, ended, later = path
            here, (address, _, opcode, operands) = parsed[place], code[place]
            wait = re.search(r"0x([0-9a-f]+)", operands) if opcode.startswith("WARPGROUP.DEPBAR") else None
            if wait and ended and later >= int(wait[1], 16):
                continue
            if place != start and (wrong := touches(product, here)):
                found.add((code[start][0], address, wrong))
            if isinstance(here, Product) and here.ends_group:
                ended, later = True, min(later + 1, 8) if ended else 0
            paths += [(next_one, ended, later) for next_one in follow[place]]
    return sorted(found)
