#!/usr/bin/env python3
"""Draws what `logwright score --explain --color always` prints as an SVG that follows light and dark mode.

usage: logwright score --model RUN odd.jsonl --only-anomalies --explain --color always --top-fields 4 |
           scripts/picture.py > docs/unusual.svg

The README's picture was made so: `synth -n 8000 --attacks 0` prepared with a vocabulary of 1024, 450 steps of the preset tiny, calibrated
on the last 2000 of `synth -n 12000 --attacks 0`, and a record of `synth -n 1000 --start 2022-12-01` with another country, city and browser.
"""

import re
import sys
from html import escape

WIDTH, COLUMN, LINE, MARGIN = 124, 7.25, 19, 14
# The backgrounds of the terminal, from the lightest shade on, and what they are in the two modes (as on the pages of `score --explain-html`).
SHADES = ["48;5;230", "48;5;222", "48;5;215", "48;5;202", "48;5;160"]
LIGHT = ["#fef9c3", "#fde68a", "#fdba74", "#fb923c", "#f87171"]
DARK = ["#3b3413", "#5c4a0e", "#7c4a12", "#a3440f", "#b91c1c"]


def characters(line):
    """Each character of a line with what the escape sequences before it ask for."""
    style = set()
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if not part.startswith("\x1b"):
            yield from ((character, frozenset(style)) for character in part)
            continue
        codes = part[2:-1]
        if codes in ("0", ""):
            style.clear()
            continue
        style |= {f"s{n}" for n, shade in enumerate(SHADES, 1) if shade in codes}
        style |= {"found"} if codes == "4" else set()
        style |= {"verdict"} if codes == "1;31" else set()


def wrapped(line):
    """Rows of at most WIDTH characters, cut behind a space where there is one; later ones are indented a little more than the first."""
    found = list(characters(line))
    indent = len(found) - len("".join(c for c, _ in found).lstrip())
    while len(found) > WIDTH:
        spaces = [place for place in range(WIDTH // 2, WIDTH) if found[place][0] == " "]
        end = spaces[-1] + 1 if spaces else WIDTH
        yield found[:end]
        found = [(" ", frozenset())] * (indent and indent + 2) + found[end:]
    yield found


def runs(row):
    """Columns, text and style of pieces of one style."""
    start = 0
    for end in range(1, len(row) + 1):
        if end == len(row) or row[end][1] != row[start][1]:
            yield start, "".join(character for character, _ in row[start:end]), row[start][1]
            start = end


def main():
    lines = [line for line in sys.stdin.read().splitlines() if line]
    rows = [row for line in lines for row in wrapped(line)]
    height, width = len(rows) * LINE + 2 * MARGIN, WIDTH * COLUMN + 2 * MARGIN
    boxes, texts = [], []
    for number, row in enumerate(rows):
        top = MARGIN + number * LINE
        for column, text, style in runs(row):
            x, length = MARGIN + column * COLUMN, len(text) * COLUMN
            shade = [name for name in style if name[0] == "s"]
            if shade:
                boxes.append(f'<rect class="{shade[0]}" x="{x:.1f}" y="{top + 2}" width="{length:.1f}" height="{LINE - 3}" rx="2"/>')
            if "found" in style:
                boxes.append(f'<rect class="line" x="{x:.1f}" y="{top + LINE - 2}" width="{length:.1f}" height="1.6"/>')
            if text.strip():
                kind = ' class="verdict"' if "verdict" in style else ""
                place = f'x="{x:.1f}" y="{top + LINE - 5}" textLength="{length:.1f}"'
                texts.append(f'<text{kind} {place} xml:space="preserve">{escape(text)}</text>')
    light = " ".join(f".s{n} {{ fill: {colour}; }}" for n, colour in enumerate(LIGHT, 1))
    dark = " ".join(f".s{n} {{ fill: {colour}; }}" for n, colour in enumerate(DARK, 1))
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">')
    print("<title>An unusual sign-in: its text shaded by surprisal, its unusual fields underlined and listed</title>")
    print("<style>")
    print('text { font: 12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2937; }')
    print(f".page {{ fill: #ffffff; stroke: #d0d7de; }} .line, .verdict {{ fill: #b91c1c; }} .verdict {{ font-weight: bold; }} {light}")
    print("@media (prefers-color-scheme: dark) {")
    print(f"text {{ fill: #e2e8f0; }} .page {{ fill: #171e28; stroke: #2a3543; }} .line, .verdict {{ fill: #fca5a5; }} {dark}")
    print("}\n</style>")
    print(f'<rect class="page" x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>')
    print("\n".join(boxes + texts))
    print("</svg>")


if __name__ == "__main__":
    main()
