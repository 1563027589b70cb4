// What the views share: elements, text that shows every character, numbers in words, downloads.
// Nothing here makes markup of a text: whatever a log holds is set as text.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children (elements or texts). A class is the attribute `class`. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Characters that steer terminals, change the writing direction, or have no width: a log must not hide behind them.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\u{e0000}-\u{e0fff}\ud800-\udfff]/gu;

// The characters from 0 on and the one of number 127, which have names.
const NAMES = "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US".split(" ");
NAMES[0x7f] = "DEL";

function shown(character) {
  // This one already is the mark of invalid text.
  if (character === "\ufffd") return character;
  const code = character.codePointAt(0);
  return `\u27e8${NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`}\u27e9`;
}

/** The text with every character visible: those without a shape by their name or number, such as ⟨ESC⟩. */
export const visible = (text) => String(text).replace(UNSEEN, shown);

/** As `visible`, but a line ends where the text has it end. */
export const visibleLines = (text) => String(text).split("\n").map(visible).join(`${shown("\n")}\n`);

/** `3 records`, `1 record`, `2,000 anomalies`. */
export function counted(number, one, many = `${one}s`) {
  return `${whole(number)} ${number === 1 ? one : many}`;
}

export const whole = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** Two digits behind the point, or three significant ones of what is smaller. */
export function decimal(number) {
  if (number === 0 || Math.abs(number) >= 0.1) return number.toLocaleString("en-US", { maximumFractionDigits: 2 });
  return number.toPrecision(2);
}

export function bytes(number) {
  if (number < 1000) return counted(number, "byte");
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  for (; number >= 1000 && unit < units.length - 1; unit++) number /= 1000;
  return `${number.toFixed(1)} ${units[unit]}`;
}

/** `45 seconds`, `3 minutes`, `5 hours`, `12 days`. */
export function duration(seconds) {
  for (const [name, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= 2 * length) return counted(Math.floor(seconds / length), name);
  }
  return counted(Math.max(0, Math.round(seconds)), "second");
}

/** Shows a text in an element that is hidden while it has none. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
  target.hidden = text === "";
}

/** Hands a blob to the person as a file. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name, hidden: "" });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads the address after the click has returned.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Copies a text; false where the browser does not allow it. */
export async function copy(text) {
  try {
    // Absent where the page came neither over TLS nor from this machine.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { "aria-hidden": "true", class: "unseen" });
    const before = document.activeElement;
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus();
    return done;
  }
}
