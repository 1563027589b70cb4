"""Drives a headless Chromium over its DevTools protocol, with the standard library alone: for scripts/drive_page.py."""
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35}
CONTROL, SHIFT = 2, 8


def find_browser():
    """Path of a Chromium: $CHROMIUM, or the first on the PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)


class WebSocket:
    """A client of RFC 6455 for text messages."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.held = b""
        while b"\r\n\r\n" not in self.held:
            self.held += self._receive()
        head, self.held = self.held.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"the browser refused the connection: {head[:200]!r}")

    def _receive(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the browser closed the connection")
        return data

    def _take(self, count):
        while len(self.held) < count:
            self.held += self._receive()
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    def send(self, text):
        data = text.encode()
        mask = os.urandom(4)
        length = len(data)
        # The length stands in one byte up to 125, else in the two or eight that follow; its first bit says that there is a mask.
        if length < 126:
            size = bytes([0x80 | length])
        else:
            size = b"\xfe" + struct.pack(">H", length) if length < 1 << 16 else b"\xff" + struct.pack(">Q", length)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.socket.sendall(b"\x81" + size + mask + masked)

    def receive(self):
        """The next text message, whole."""
        message = b""
        while True:
            first, second = self._take(2)
            length = second & 0x7F
            if length > 125:
                length = struct.unpack(">H" if length == 126 else ">Q", self._take(2 if length == 126 else 8))[0]
            data = self._take(length)
            if first & 0x0F in (0, 1):
                message += data
                if first & 0x80:
                    return message.decode()


class Browser:
    """A headless Chromium with one page. Everything that its page asked for, and complained about, is kept."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="drive-page-")
        # Chromium refuses its sandbox to root, who runs the tests in containers.
        flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions --mute-audio"
        flags = flags.split() + "--disable-background-networking --disable-component-update --disable-sync --remote-debugging-port=0".split()
        with open(Path(self.folder) / "browser.log", "wb") as log:
            command = [program, *flags, f"--user-data-dir={self.folder}/profile", "about:blank"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.number, self.session, self.replies = 0, None, {}
        self.requests, self.complaints = [], []
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self):
        told = Path(self.folder) / "profile" / "DevToolsActivePort"
        for _ in range(600):
            if told.exists() and len(told.read_text().split()) == 2:
                break
            if self.process.poll() is not None:
                log = (Path(self.folder) / "browser.log").read_text(errors="replace")
                raise ConnectionError(f"the browser ended at once: {log[-500:]}")
            time.sleep(0.1)
        port, path = told.read_text().split()
        self.socket = WebSocket(int(port), path)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def post(self, method, **parameters):
        """Sends a command of the protocol; the number of its reply."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        return self.number

    def reply(self, number, method):
        while number not in self.replies:
            self._note(json.loads(self.socket.receive()))
        reply = self.replies.pop(number)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def call(self, method, **parameters):
        """The result of a command."""
        return self.reply(self.post(method, **parameters), method)

    def _note(self, message):
        if "id" in message:
            self.replies[message["id"]] = message
            return
        kind, about = message["method"], message["params"]
        if kind == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.complaints.append(("exception", json.dumps(about["exceptionDetails"])[:500]))
        elif kind == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(("console", json.dumps(about["args"])[:500]))
        elif kind == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            entry = about["entry"]
            self.complaints.append((entry["source"], f"{entry['text']} {entry.get('url', '')}"))

    def run(self, script):
        """The value of a JavaScript expression in the page; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script[:200]}: {json.dumps(result['exceptionDetails'])[:500]}")
        return result["result"].get("value")

    def wait(self, script, seconds, what):
        """Waits until the expression is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"Boolean({script})")):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s for {what}")
            time.sleep(0.1)
        return value

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'", 30, f"{url} to load")

    def press(self, key, modifiers=0):
        """Presses and releases a key."""
        code = KEYS[key]
        text = {"Enter": "\r", "Space": " "}.get(key, "") if not modifiers & CONTROL else ""
        name = " " if key == "Space" else key
        about = {"key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text):
        """Types a text into the element that has the focus, a key a character."""
        sent = []
        for character in text:
            about = {"text": character, "key": character}
            if character == "\n":
                about = {"text": "\r", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": KEYS["Enter"]}
            sent.append(self.post("Input.dispatchKeyEvent", type="keyDown", **about))
            sent.append(self.post("Input.dispatchKeyEvent", type="keyUp", **{**about, "text": ""}))
        for number in sent:
            self.reply(number, "Input.dispatchKeyEvent")

    def paste(self, text):
        """Puts a text into the element that has the focus at once."""
        self.call("Input.insertText", text=text)

    def look(self, width, height=900, dark=False):
        """Sets the size of the window, and light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def screenshot(self, path):
        """Saves what the window shows."""
        picture = self.call("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(picture["data"]))

    def close(self):
        """Ends the browser, all of its processes, and removes its profile."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
