#!/usr/bin/env python3
"""Drives the page of `logwright serve` in a headless Chromium, by keyboard alone, and fails if it does not do what it should.

usage: drive_page.py URL --lines FILE --odd VALUE [--token TOKEN] [--screenshot PATH.png] [--dark] [--width PIXELS]

FILE has a few lines of the model's logs, and those with the unusual VALUE are typed key by key, the others pasted. Checked are:
the token form (with --token); the order of the keys Tab, a visible focus and a name for everything that has it; that lines are
scored, the unusual value is marked, and markup and control characters of a line are shown as text; the filter, the order and the
download, whose findings must equal those of /score; a file of several pieces, chosen and dropped; generated records; the live
numbers; landmarks and names for screen readers; contrast (4.5:1) and width in light and dark, at 360 and 1280 pixels; that nothing
was asked of another host and nothing complained about, the content security policy included. It prints one JSON object that counts
what was checked. Exit code 0: all is well; 1: it is not, with the reason on stderr; 77: there is no Chromium, with that reason on stdout.

It needs Python 3.9 without packages, devtools.py beside it, and a Chromium on the PATH or in $CHROMIUM.
"""
import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from devtools import CONTROL, Browser, find_browser

# Lines that would do something if they were taken as markup, or for what they say.
MARKUP = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
HIDDEN = "left\u202etfel"

# Text against what is painted behind it, for every text that is seen and every control that can be used.
CONTRAST = """(() => {
  const parse = (colour) => { const n = colour.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = new Map();
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest("noscript")) continue;
    texts += 1;
    const back = behind(element);
    const style = getComputedStyle(element);
    const [a, b] = [light(over(parse(element.closest("svg") ? style.fill : style.color), back)), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = `${element.tagName}.${element.getAttribute("class")} in ${element.parentElement.tagName}`;
    if (ratio < 4.5) found.set(name, ratio.toFixed(2));
  }
  return { texts, poor: [...found] };
})()"""

FOCUSED = """(() => {
  const at = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(at);
  const id = at.id || at.getAttribute("href") || at.closest("details")?.id || at.tagName;
  return { id, seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
})()"""

# How inputs are cut: each kind as [name, text, has a header, how a piece begins, what is repeated]; null for one that stays whole.
CUTS = """(async () => {
  const { pieces } = await import("./pieces.js");
  const many = (count, line) => Array.from({ length: count }, (_, at) => line(at)).join("");
  const kinds = [
    ["JSON lines", many(9000, (at) => `{"a":${at},"b":"${"x".repeat(at % 40)}"}\\r\\n`), false, "{", ""],
    ["pretty JSON", many(9000, (at) => `{\\n  "a": ${at}\\n}\\n`), false, "{", ""],
    ["one JSON array", `[${many(9000, (at) => `{"a":${at}},\\n`)}{}]`, false, null, ""],
    ["stack traces", many(9000, (at) => `2026 ERROR ${at}\\n  at x\\n\\tat y\\n`), false, "2026", ""],
    ["a table", `time,user\\n${many(9000, (at) => `2026-01-01,u${at}\\n`)}`, true, "time,user\\n", "time,user\\n"],
    ["a W3C log", `#V: 1\\n#Fields: a b\\n${many(30000, (at) => `${at} 2\\n`)}`, false, "#V: 1\\n#Fields: a b\\n", "#V: 1\\n#Fields: a b\\n"],
    ["no newline at the end", many(9000, (at) => `line ${at}\\n`) + "x", false, "", ""],
    ["two bytes a character", many(90000, (at) => `${at % 10}\\0\\n\\0`), false, null, ""],
  ];
  const wrong = [];
  for (const [name, text, hasHeader, begin, repeated] of kinds) {
    const found = [];
    for await (const piece of pieces(new Blob([text]).stream(), hasHeader)) found.push(new TextDecoder("utf-8", { ignoreBOM: true }).decode(piece));
    const isWhole = found.map((piece, at) => (at ? piece.slice(repeated.length) : piece)).join("") === text;
    const isCut = begin === null ? found.length === 1 : found.length > 1 && found.every((piece) => piece.startsWith(begin) && piece.length < 70000);
    if (!isWhole || !isCut) wrong.push(`${name}: ${found.length} pieces, whole: ${isWhole}`);
  }
  return wrong;
})()"""


class Wrong(Exception):
    """The page does not do what it should."""


def require(condition, what):
    if not condition:
        raise Wrong(what)


class Drive:
    def __init__(self, browser, asked):
        self.browser, self.asked, self.checked = browser, asked, {}
        self.lines = Path(asked.lines).read_text(encoding="utf-8").splitlines()
        self.typed = [*self.lines, MARKUP, HIDDEN]

    def go_to(self, wanted, most=60):
        """Presses Tab until the element has the focus; the way there."""
        way = []
        for _ in range(most):
            self.browser.press("Tab")
            focused = self.browser.run(FOCUSED)
            require(focused["seen"] or focused["id"] == "BODY", f"no visible focus on {focused['id']}")
            way.append(focused["id"])
            if focused["id"] == wanted:
                return way
        raise Wrong(f"Tab does not lead to {wanted}: {way}")

    def text(self, selector):
        return self.browser.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def settled(self, name):
        """Waits for an answer to be whole; its problem, or an empty text."""
        script = f"!['running', undefined].includes(document.getElementById('{name}').dataset.state)"
        self.browser.wait(script, 120, f"the answer in {name}")

    def give_token(self):
        self.browser.wait("!document.getElementById('token-form').hidden", 20, "the form for a token")
        require(self.browser.run(FOCUSED)["id"] == "token", "the field for the token has no focus")
        self.browser.type(f"not {self.asked.token}")
        self.browser.press("Enter")
        self.browser.wait("document.querySelector('#token[aria-invalid=true]')", 20, "the answer to a wrong token")
        self.browser.type(self.asked.token)
        self.browser.press("Enter")
        self.browser.wait("document.getElementById('token-form').hidden", 20, "the right token to be taken")
        kept = self.browser.run("[Object.values(sessionStorage).join(), localStorage.length, document.cookie]")
        require(kept == [self.asked.token, 0, ""], f"the token belongs into sessionStorage alone: {kept}")
        self.checked["token"] = True

    def score_by_keyboard(self):
        """Types and pastes the lines, and scores them."""
        way = self.go_to("lines")
        expected = [] if self.asked.token else ["#content", "#score", "#generate", "#live"]
        require(way[:-1] == expected, f"the way to the lines: {way}")
        for line in self.lines:
            self.browser.type(line + "\n") if self.asked.odd in line else self.browser.paste(line + "\n")
        self.browser.type(f"{MARKUP}\n{HIDDEN}")
        require(self.go_to("score-start") == ["file", "options", "score-start"], "the way from the lines to Score")
        self.browser.press("Space")
        self.settled("results")
        require(self.text("#score-problem") == "", self.text("#score-problem"))
        counts = [int(self.text(f"#count-{kind}").replace(",", "")) for kind in ("records", "broken")]
        require(sum(counts) == len(self.typed), f"{counts} answers to {len(self.typed)} lines")
        require(self.text("#score-status").startswith("Done: "), self.text("#score-status"))
        self.checked["answers"] = sum(counts)

    def look_at_records(self):
        marks = self.browser.run("[...document.querySelectorAll('#records mark')].map((mark) => mark.textContent)")
        require(any(self.asked.odd in mark for mark in marks), f"{self.asked.odd} is not marked, but {marks}")
        shaded = self.browser.run("document.querySelectorAll('#records pre :is(.s1, .s2, .s3, .s4, .s5)').length")
        require(shaded > 0, "no token is shaded")
        self.go_to("only-anomalies")
        self.go_to("open-all")
        self.browser.press("Enter")
        self.browser.wait("!document.querySelector('#records details:not([open])')", 20, "all rows to open")
        shown = self.text("#records")
        require(MARKUP[:20] in shown, "the line of markup is not shown as text")
        require("\u202e" not in shown and "\u27e8U+202E\u27e9" in shown, "a character that turns the direction is not made visible")
        made = self.browser.run("[document.querySelectorAll('#records :is(img, script)').length, document.title.includes('taken')]")
        require(made == [0, False], f"a line became markup: {made}")
        self.checked["marks"] = len(marks)

    def filter_and_order(self):
        """From the button that opens all, back to the filter and the order in front of it."""
        for wanted in ("order", "only-anomalies"):
            self.browser.press("Tab", 8)
            require(self.browser.run(FOCUSED)["id"] == wanted, f"Shift+Tab does not lead to {wanted}")
        shown = "[...document.querySelectorAll('#records > li:not([hidden])')].map((row) => row.className)"
        all_rows = len(self.browser.run(shown))
        self.browser.press("Space")
        rows = self.browser.run(shown)
        calibrated = self.text("#threshold") != "none"
        require("normal" not in rows and (not calibrated or "anomaly" in rows), f"only anomalies: {rows}")
        self.browser.press("Space")
        require(len(self.browser.run(shown)) == all_rows, "the filter does not give the rows back")
        self.browser.press("Tab")
        self.browser.press("ArrowDown")
        number = "(row) => (Number.isFinite(row.oddness) ? row.oddness : -1)"
        numbers = self.browser.run(f"[...document.querySelectorAll('#records > li')].map({number})")
        require(numbers == sorted(numbers, reverse=True) and len(numbers) > 1, f"the order of the scores: {numbers}")

    def download(self, folder):
        """The findings of the page are those of /score."""
        self.browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=folder)
        self.go_to("download")
        self.browser.press("Enter")
        file = Path(folder) / "findings.jsonl"
        for _ in range(100):
            if file.exists():
                break
            time.sleep(0.1)
        require(file.exists(), "nothing was downloaded")
        found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        expected = self.ask("score", "\n".join(self.typed).encode())
        require(len(found) == len(expected), f"{len(found)} findings in the download, {len(expected)} from /score")
        for ours, theirs in zip(found, expected):
            require(ours == theirs, f"the download differs from /score:\n{ours}\n{theirs}")
        self.checked["findings"] = len(found)

    def ask(self, path, body=None):
        """The JSON lines that the server answers to us."""
        headers = {"Authorization": f"Bearer {self.asked.token}"} if self.asked.token else {}
        request = urllib.request.Request(self.asked.url.rstrip("/") + "/" + path, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return [json.loads(line) for line in response.read().decode().splitlines()]

    def score_file(self, folder, how):
        """A file of two pieces, whose records are numbered on."""
        many = 1 + 70_000 // len("\n".join(self.lines).encode())
        file = Path(folder) / "lines.jsonl"
        file.write_text("\n".join(self.lines * many) + "\n", encoding="utf-8")
        before = len([url for url in self.browser.requests if "/score?" in url])
        how(str(file))
        self.browser.wait("!document.getElementById('file-away').hidden", 10, "the file to be taken")
        self.browser.run("document.getElementById('score-start').focus()")
        self.browser.press("Enter")
        self.settled("results")
        require(self.text("#score-problem") == "", self.text("#score-problem"))
        order = "document.getElementById('order')"
        self.browser.run(f"({order}.value = 'arrival', {order}.dispatchEvent(new Event('change')))")
        lines = len(self.lines) * many
        require(self.text("#score-status").startswith(f"Done: {lines:,} records"), f"{self.text('#score-status')} of {lines} lines")
        last = self.text("#records > li:last-child summary")
        require(f"record {lines:,}:" in last, f"the last of {lines} records is {last}")
        sent = [parse_qs(urlsplit(url).query) for url in self.browser.requests if "/score?" in url][before:]
        streams = {str(asked.get("stream")) for asked in sent}
        require(len(sent) > 1 and len(streams) == 1 and "None" not in streams, f"several pieces of one stream: {sent}")
        require(["end" in asked for asked in sent] == [False] * (len(sent) - 1) + [True], f"the last piece ends the stream: {sent}")
        self.browser.run("document.getElementById('file-away').focus()")
        self.browser.press("Enter")
        self.checked["pieces"] = self.checked.get("pieces", 0) + len(sent)

    def choose_file(self, path):
        root = self.browser.call("DOM.getDocument")["root"]["nodeId"]
        node = self.browser.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.browser.call("DOM.setFileInputFiles", nodeId=node, files=[path])

    def drop_file(self, path):
        for kind in ("dragEnter", "dragOver", "drop"):
            data = {"items": [], "files": [path], "dragOperationsMask": 1}
            self.browser.call("Input.dispatchDragEvent", type=kind, x=200, y=300, data=data)

    def cuts(self):
        wrong = self.browser.run(CUTS)
        require(not wrong, f"inputs cut wrongly: {wrong}")

    def generate(self):
        self.browser.run("document.querySelector('a[href=\"#generate\"]').focus()")
        self.browser.press("Enter")
        self.go_to("number")
        self.browser.type("2")
        self.go_to("max-tokens")
        self.browser.type("48")
        self.go_to("generate-start")
        self.browser.press("Enter")
        self.settled("generated")
        require(self.text("#generate-problem") == "", self.text("#generate-problem"))
        texts = self.browser.run("[...document.querySelectorAll('#samples pre')].map((pre) => pre.textContent)")
        require(len(texts) == 2 and all(texts), f"two records: {texts}")
        self.checked["generated"] = len(texts)

    def live(self):
        self.browser.run("document.querySelector('a[href=\"#live\"]').focus()")
        self.browser.press("Enter")
        drawn = "document.querySelector('#rate-chart path')?.getAttribute('d')"
        self.browser.wait(f"document.querySelectorAll('#live-rows tr').length > 0 && {drawn}", 20, "two measurements")
        records = self.text("#live-facts > div:first-child > dd")
        require(int(records.replace(",", "")) >= len(self.lines), f"live records: {records}")
        require("measurement" in self.text("#rate-words"), "the chart is not said in words")
        self.checked["live"] = True

    def accessibility(self):
        nodes = [node for node in self.browser.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        roles = [node["role"]["value"] for node in nodes]
        for role in ("banner", "navigation", "main", "status"):
            require(role in roles, f"no {role} for screen readers")
        named = {"button", "link", "textbox", "checkbox", "combobox", "spinbutton", "list", "form", "region", "image", "progressbar"}
        for node in nodes:
            nameless = node["role"]["value"] in named and not node.get("name", {}).get("value")
            require(not nameless or node["role"]["value"] == "list", f"no name: {node['role']['value']} {node.get('backendDOMNodeId')}")
        self.checked["nodes"] = self.checked.get("nodes", 0) + len(nodes)

    def looks(self):
        """Every view in light and dark, narrow and wide."""
        for view in ("score", "generate", "live"):
            self.browser.run(f"location.hash = '{view}'")
            self.browser.run("document.querySelectorAll('main details').forEach((details) => { details.open = true; })")
            for dark in (False, True):
                for width in (360, 1280):
                    self.browser.look(width, dark=dark)
                    time.sleep(0.1)
                    seen = self.browser.run(CONTRAST)
                    where = f"{view}, {'dark' if dark else 'light'}, {width} pixels"
                    require(not seen["poor"] and seen["texts"] > 10, f"contrast below 4.5 in {where}: {seen}")
                    wide = self.browser.run("document.documentElement.scrollWidth")
                    require(wide <= width, f"{where}: the page is {wide} pixels wide")
                    self.checked["texts"] = self.checked.get("texts", 0) + seen["texts"]
            self.accessibility()
        require(self.browser.run("document.getAnimations().length") == 0, "something moves")

    def complaints(self):
        origin = self.browser.run("location.origin")
        elsewhere = [url for url in self.browser.requests if not url.startswith((origin + "/", "data:", f"blob:{origin}/"))]
        require(not elsewhere, f"asked of others: {elsewhere}")
        # The browser itself notes each refusal, which is what --token asks for.
        refused = lambda kind, text: kind == "network" and self.asked.token and " 401 " in text
        complaints = [one for one in self.browser.complaints if not refused(*one)]
        require(not complaints, f"the browser complains: {complaints}")
        self.checked["requests"] = len(self.browser.requests)

    def all(self, folder):
        self.browser.look(1280)
        self.browser.open(self.asked.url)
        if self.asked.token:
            self.give_token()
        self.browser.wait("document.getElementById('model').textContent.startsWith('Model ')", 20, "the model's name")
        self.score_by_keyboard()
        self.look_at_records()
        if self.asked.screenshot:
            self.browser.look(self.asked.width, dark=self.asked.dark)
            self.browser.run("document.querySelector('#records mark').closest('li').scrollIntoView()")
            time.sleep(0.3)
            self.browser.screenshot(self.asked.screenshot)
            self.browser.look(1280)
            self.browser.run("document.getElementById('open-all').focus()")
        self.filter_and_order()
        self.download(folder)
        self.cuts()
        self.score_file(folder, self.choose_file)
        self.score_file(folder, self.drop_file)
        self.score_by_keys()
        self.generate()
        self.live()
        self.looks()
        self.complaints()

    def score_by_keys(self):
        """Ctrl+Enter in the lines, which are those that were typed before."""
        self.browser.run("document.getElementById('lines').focus()")
        self.browser.press("Enter", CONTROL)
        rows = f"document.querySelectorAll('#records > li').length === {len(self.typed)}"
        self.browser.wait(f"{rows} && document.getElementById('results').dataset.state === 'done'", 60, "Ctrl+Enter to score")


def main():
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("url")
    parser.add_argument("--lines", required=True)
    parser.add_argument("--odd", required=True)
    parser.add_argument("--token")
    parser.add_argument("--screenshot")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    asked = parser.parse_args()
    program = find_browser()
    if not program:
        print("no Chromium: none of chromium, chromium-browser, google-chrome and chrome is on the PATH, and $CHROMIUM is not set")
        return 77
    browser = Browser(program)
    with tempfile.TemporaryDirectory() as folder:
        drive = Drive(browser, asked)
        try:
            drive.all(folder)
        except (Wrong, TimeoutError, RuntimeError, OSError) as error:
            print(f"{error}\nwhat the browser complained about: {browser.complaints}", file=sys.stderr)
            return 1
        finally:
            browser.close()
    print(json.dumps(drive.checked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
