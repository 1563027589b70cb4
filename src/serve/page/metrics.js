// Prometheus' text format, and rates between two readings of it.

const PREFIX = "logwright_";

/** The sums of each metric over its labels, by name without the prefix of the program. */
export function parse(text) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    // A label's value may hold spaces and braces, so the number is what stands behind the last brace.
    const found = /^([A-Za-z_:][\w:]*)(?:\{.*\})?\s+(\S+)/.exec(line);
    if (!found || !found[1].startsWith(PREFIX)) continue;
    const name = found[1].slice(PREFIX.length);
    sums.set(name, (sums.get(name) ?? 0) + Number(found[2]));
  }
  return sums;
}

/** How much a counter rose between two readings. It begins anew with the server. */
export function rise(before, now, name) {
  const [was, is] = [before.get(name) ?? 0, now.get(name) ?? 0];
  return is >= was ? is - was : is;
}
