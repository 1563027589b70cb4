// A finding as a row of the list: its verdict, and, when it is open, the record shaded by surprisal and why it is unusual.

import { counted, decimal, element, visible, visibleLines, whole } from "./dom.js";

// Lower bounds in nats of the shades from 1 on, and the evidence from which a field is odd: as on the program's own HTML pages.
const SHADES = [1, 2, 4, 6, 9];
const ODD = 5;

const shade = (nats) => SHADES.filter((bound) => nats >= bound).length;

/** The meaning of the shades, from 0 on, as [class, words]. */
export function meanings() {
  const between = SHADES.slice(1).map((end, at) => `${SHADES[at]} to ${end}`);
  const words = [`under ${SHADES[0]} nat`, ...between, `${SHADES.at(-1)} or more`];
  return words.map((text, at) => [`s${at}`, text]);
}

/** What the kinds of evidence are. */
const KINDS = {
  fields: "fields that surprise the model",
  values: "a value or a path never seen",
  pairs: "values never seen together",
  distance: "far from the nearest normal record",
  "2-gram": "a rare step from one value to the next",
  order: "an order of members never seen",
  characters: "characters that training lacked",
  records: "the scores of its records",
  events: "unusual numbers of events",
  many: "unusually many records",
  few: "unusually few records",
  pause: "an unusually long pause",
  hurry: "records that follow each other unusually fast",
};

export const isBroken = (answer) => answer.error !== undefined;
export const isAnomaly = (answer) => answer.anomaly === true;
/** Where the calibration groups records, sessions are answered instead of them. */
export const isSession = (answer) => answer.session !== undefined;
/** By which rows are ordered: lines that are no record come last. */
export const oddness = (answer) => (isBroken(answer) ? -Infinity : answer.score);

/** Whether a field is far from what is usual for it. Without a calibration nothing says what is usual. */
const isOdd = (field) => (field.evidence ?? 0) > ODD;

/** Paths whose values are marked: the odd ones; without a calibration the most surprising one. */
function markedFields(finding) {
  const fields = finding.fields ?? [];
  return fields.some((field) => field.evidence !== undefined) ? fields.filter(isOdd) : fields.slice(0, 1);
}

function verdict(answer) {
  if (isBroken(answer)) return ["broken", "no record"];
  if (answer.known) return [answer.anomaly ? "anomaly" : "normal", `known to be ${answer.known.state}`];
  if (answer.anomaly === true) return ["anomaly", "anomaly"];
  return answer.anomaly === false ? ["normal", "normal"] : ["plain", "no verdict"];
}

/** The row of an answer. What is inside is made when it is first opened, because there may be thousands of rows. */
export function row(answer) {
  const [kind, words] = verdict(answer);
  const name = isSession(answer) ? `session ${visible(answer.session)}` : `record ${whole(answer.record)}`;
  const summary = element("summary", {}, element("span", { class: "verdict" }, words), ` ${name}`);
  if (!isBroken(answer)) summary.append(`: score ${decimal(answer.score)}`);
  const short = why(answer);
  if (short) summary.append(element("span", { class: "short" }, short));
  const details = element("details", {}, summary);
  const item = element("li", { class: kind }, details);
  const fill = () => {
    if (details.open && details.childElementCount === 1) details.append(content(answer));
  };
  details.addEventListener("toggle", fill);
  item.oddness = oddness(answer);
  item.open = (open) => ((details.open = open), fill());
  return item;
}

function content(answer) {
  if (isBroken(answer)) return broken(answer);
  return isSession(answer) ? session(answer) : inside(answer);
}

/** The strongest reason in a few words. */
function why(answer) {
  if (isBroken(answer)) return visible(answer.error);
  if (answer.reasons?.length) return visible(answer.reasons[0]);
  const [field] = markedFields(answer.worst ?? answer);
  if (!field) return "";
  return field.reason ? `${visible(field.path)}: ${visible(field.reason)}` : visible(field.path);
}

function broken(answer) {
  const box = element("div", { class: "inside" });
  if (answer.head !== undefined) {
    box.append(element("p", {}, "It begins with"), element("pre", { dir: "ltr" }, visibleLines(answer.head)));
  }
  return box;
}

function session(answer) {
  const box = element("div", { class: "inside" }, bar(answer));
  const { first, last, records, reasons = [], worst } = answer;
  box.append(element("p", {}, `${counted(records, "record")}, from record ${whole(first)} to record ${whole(last)} of the input.`));
  for (const reason of reasons) box.append(element("p", { class: "reason" }, `${visible(reason)}.`));
  for (const sentence of sentences(answer)) box.append(element("p", {}, sentence));
  if (worst) {
    box.append(element("p", {}, `The most unusual of them is record ${whole(worst.record)}, with a score of ${decimal(worst.score)}:`));
    box.append(fieldList(worst));
  }
  return box;
}

function inside(finding) {
  const box = element("div", { class: "inside" });
  box.append(bar(finding));
  if (finding.tokens?.length) box.append(shaded(finding));
  box.append(fieldList(finding));
  for (const sentence of sentences(finding)) box.append(element("p", {}, sentence));
  return box;
}

/** The score and the threshold on a bar, whose length is the highest score of the list (`--highest` there). */
function bar(finding) {
  const made = element("div", { class: "bar", "aria-hidden": "true" }, element("i"));
  made.style.setProperty("--score", finding.score);
  if (typeof finding.threshold === "number") {
    made.style.setProperty("--threshold", finding.threshold);
    made.append(element("b"));
  }
  return made;
}

/** The tokens of a record in order, each shaded; runs of them that are the value of a named field are underlined. */
function shaded(finding) {
  const pre = element("pre", { dir: "ltr" });
  const tokens = [...finding.tokens];
  // The separator behind a record is no part of it.
  if (tokens.at(-1)?.text === "\n") tokens.pop();
  const odd = markedFields(finding);
  for (const run of runs(tokens)) {
    let into = pre;
    if (run[0].found) {
      const text = run.map((token) => token.text).join("");
      into = odd.some((field) => holds(text, field.value)) ? element("mark") : element("span", { class: "found" });
      pre.append(into);
    }
    for (const token of run) into.append(piece(token));
  }
  return pre;
}

function runs(tokens) {
  const all = [];
  for (const token of tokens) {
    if (all.at(-1)?.[0].found === token.found) all.at(-1).push(token);
    else all.push([token]);
  }
  return all;
}

/** Whether the text of a run, which may reach beyond the value on both sides, has the value of a field (at most 200 characters of it). */
function holds(run, value) {
  const inner = run.replace(/^[\s"':,=[{]+|[\s"',\]}]+$/g, "");
  const spelt = [value, JSON.stringify(value).slice(1, -1)];
  if (value.length < 4) return spelt.includes(inner);
  return spelt.some((text) => run.includes(text));
}

function piece(token) {
  const level = shade(token.nats);
  const text = visibleLines(token.text);
  if (level === 0) return document.createTextNode(text);
  return element("span", { class: `s${level}`, title: `${decimal(token.nats)} nats` }, text);
}

function fieldList(finding) {
  const fields = finding.fields ?? [];
  const marked = markedFields(finding);
  const list = element("ul", { class: "why", "aria-label": `Fields of record ${finding.record}, the most unusual first` });
  for (const field of fields) list.append(fieldRow(field, marked.includes(field)));
  return list;
}

function fieldRow(field, isMarked) {
  const calibrated = field.evidence !== undefined;
  // A long path may be broken behind its dots.
  const parts = visible(field.path).split(/(?<=\.)/).flatMap((part) => [part, element("wbr")]);
  const path = element("span", { class: "path" }, ...parts);
  if (isMarked) path.append(" ", element("strong", { class: "tag" }, calibrated ? "unusual" : "most surprising"));
  const value = element("span", {}, element("code", { dir: "ltr" }, visible(field.value)));
  if (field.reason) value.append(" ", element("span", { class: "reason" }, visible(field.reason)));
  const usual = field.expected === undefined ? "" : `, usual ${decimal(field.expected)}`;
  const nats = `${decimal(field.nats)} nats${usual}`;
  const numbers = element("span", { class: "numbers" }, calibrated ? `evidence ${decimal(field.evidence)}; ${nats}` : nats);
  return element("li", { class: isMarked ? "odd" : "" }, path, " ", value, " ", numbers);
}

/** What else is known of a record, in sentences. */
function sentences(finding) {
  const said = [];
  const kinds = Object.entries(finding.evidence ?? {}).sort((a, b) => b[1] - a[1]);
  if (kinds.length > 0) {
    const words = kinds.map(([kind, nats]) => `${KINDS[kind] ?? visible(kind)} ${decimal(nats)}`);
    said.push(`Evidence in nats: ${words.join("; ")}.`);
  }
  if (finding.p_value !== undefined) said.push(share(finding.p_value));
  if (finding.known) {
    said.push(`It is known to be ${finding.known.state}: ${visible(finding.known.reason)} (entry ${visible(finding.known.id)}).`);
  }
  const identity = [finding.time && `time ${visible(finding.time)}`, finding.source && `from ${visible(finding.source)}`];
  identity.push(finding.id && `finding ${visible(finding.id)}`);
  const facts = identity.filter(Boolean).join("; ");
  if (facts) said.push(`${facts[0].toUpperCase()}${facts.slice(1)}.`);
  return said;
}

function share(probability) {
  if (probability > 0.5) return "Most normal ones score at least as high.";
  if (probability < 1e-9) return "Fewer than one in a billion normal ones would score as high.";
  return `About one in ${whole(Math.round(1 / probability))} normal ones scores as high.`;
}

/** A drift of the stream, in words. */
export function driftWords(drift) {
  const paths = drift.paths.map((path) => (path.new ? `${visible(path.path)} (new)` : visible(path.path)));
  const moved = paths.length ? ` What moved most: ${paths.join(", ")}.` : "";
  const rate = `${decimal(100 * drift.flagged)} % are anomalies where ${decimal(100 * drift.expected)} % are usual`;
  return `From record ${whole(drift.since)} on the records are unlike the normal ones of the calibration: ${rate}.${moved} If they are normal, score --recalibrate learns anew.`;
}

/** `12 records, 3 anomalies, 1 line that is no record`. */
export function tally({ records, sessions, anomalies, broken }, calibrated) {
  const parts = [counted(records, "record")];
  if (sessions > 0) parts.push(counted(sessions, "session"));
  if (calibrated) parts.push(counted(anomalies, "anomaly", "anomalies"));
  if (broken > 0) parts.push(broken === 1 ? "1 line that is no record" : `${whole(broken)} lines that are no record`);
  return parts.join(", ");
}
