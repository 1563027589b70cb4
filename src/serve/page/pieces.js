// Cuts an input into pieces that are sent one after another, each of whole records.
//
// A browser reads no answer before it has sent the whole body, and the server reads no body while nobody takes its answers. So a
// body has to fit the buffers between the two: a large one would wait for ever.

const PIECE = 64 * 1024;
// What cannot be cut is sent as it is, up to this length.
const UNCUT = 8 * 1024 * 1024;
const NEWLINE = 10;

/** The input cannot be sent from this page. */
export class TooLong extends Error {}

/** The bytes of a file as a stream, unpacked if it is a gzip file. */
export async function streamOf(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const stream = file.stream();
  return first === 0x1f && second === 0x8b ? stream.pipeThrough(new DecompressionStream("gzip")) : stream;
}

/** Whether lines that begin so look like a table: the first has names between separators, the second as many values. */
export function looksLikeTable(start) {
  const [first = "", second = ""] = start.split(/\r?\n/);
  const separated = (line) => [",", ";", "\t"].map((separator) => line.split(separator).length - 1);
  const names = /^[^{}\[\]<>=\d][^{}\[\]<>=]*$/.test(first);
  return names && separated(first).some((count, kind) => count > 1 && count === separated(second)[kind]);
}

/**
 * The pieces of a stream of bytes, as arrays of bytes.
 *
 * With `hasHeader`, each piece begins with the first line. Lines at the beginning that start with # (W3C, Zeek) are always repeated so.
 */
export async function* pieces(stream, hasHeader) {
  const reader = stream.getReader();
  let held = new Uint8Array(0);
  let header = new Uint8Array(0);
  let mayCut = null;
  let isKnown = false;
  let isFirst = true;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (!done) held = joined(held, value);
      if (!done && held.length < PIECE) continue;
      if (!isKnown) [mayCut, header, isKnown] = [cutter(held), headerOf(held, hasHeader), true];
      for (let end; mayCut && held.length >= PIECE && (end = lastCut(held, mayCut)) > 0; held = held.subarray(end), isFirst = false) {
        yield withHeader(isFirst, header, held.subarray(0, end));
      }
      if (held.length > UNCUT) {
        throw new TooLong("A record of more than 8 MB, or an input that cannot be cut, is too long for this page. Use logwright score.");
      }
      if (done) break;
    }
    if (held.length > 0) yield withHeader(isFirst, header, held);
  } finally {
    reader.cancel().catch(() => {});
  }
}

const withHeader = (isFirst, header, piece) => (isFirst ? piece : joined(header, piece));

function joined(before, after) {
  if (before.length === 0) return after;
  const whole = new Uint8Array(before.length + after.length);
  whole.set(before);
  whole.set(after, before.length);
  return whole;
}

/** Lines at the beginning that every piece needs. */
function headerOf(held, hasHeader) {
  let end = 0;
  while (held[end] === "#".charCodeAt(0)) end = held.indexOf(NEWLINE, end) + 1 || held.length;
  if (end === 0 && hasHeader) end = held.indexOf(NEWLINE) + 1;
  return held.slice(0, end);
}

/** Which byte at the beginning of a line may begin a record, by how the input begins; null where the input cannot be cut. */
function cutter(held) {
  const text = new TextDecoder().decode(held.subarray(0, PIECE));
  const first = text.trimStart()[0];
  // Two bytes a character, packed or binary formats, and one JSON array.
  if (text.includes("\0") || first === "[" || (text.match(/\ufffd/g) ?? []).length > text.length / 100) return null;
  const line = text.trimStart().split("\n")[0];
  if (first === "{" && !isJson(line)) return (byte) => byte === "{".charCodeAt(0);
  // Lines of a stack trace are indented below the line that they belong to.
  return (byte) => byte !== 0x20 && byte !== 0x09;
}

function isJson(line) {
  try {
    return typeof JSON.parse(line) === "object";
  } catch {
    return false;
  }
}

/** The end of the last whole record within a piece's length, else of the first one beyond it; 0 if there is none yet. */
function lastCut(held, mayCut) {
  // The byte behind a newline decides, so it must be there.
  for (let at = held.lastIndexOf(NEWLINE, PIECE - 2); at >= 0; at = at > 0 ? held.lastIndexOf(NEWLINE, at - 1) : -1) {
    if (mayCut(held[at + 1])) return at + 1;
  }
  for (let at = held.indexOf(NEWLINE, PIECE - 1); at >= 0 && at + 1 < held.length; at = held.indexOf(NEWLINE, at + 1)) {
    if (mayCut(held[at + 1])) return at + 1;
  }
  return 0;
}
