// The view of what the server does now: its metrics every two seconds, as numbers, charts and a table.

import { request } from "./api.js";
import { byId, counted, decimal, duration, element, say, whole } from "./dom.js";
import { parse, rise } from "./metrics.js";

const EVERY = 2000;
const PATIENCE = 10_000;
// Five minutes, and the rows of the table.
const KEPT = 150;
const ROWS = 20;

// Readings as { at (milliseconds), sums, rate, anomalies, queued }.
let readings = [];
let timer = null;
let isAsking = false;

export function setUp(onRefused) {
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start(onRefused)));
  new ResizeObserver(() => readings.length && show()).observe(byId("rate-chart"));
  start(onRefused);
}

/** Asks now, and then every two seconds while the page is seen. */
export function start(onRefused) {
  stop();
  if (!document.hidden) poll(onRefused);
}

function stop() {
  clearTimeout(timer);
  timer = null;
}

async function poll(onRefused) {
  if (isAsking) return;
  isAsking = true;
  let wait = EVERY;
  try {
    const response = await request("metrics", { signal: AbortSignal.timeout(PATIENCE) });
    take(parse(await response.text()), Date.now());
    show();
  } catch (error) {
    wait = PATIENCE;
    const words = error.name === "TimeoutError" ? "The server does not answer in time." : error.message;
    say(byId("live-status"), `No measurement: ${words}`);
    if (error.status === 401) {
      onRefused(error, () => start(onRefused));
      return;
    }
  } finally {
    isAsking = false;
  }
  if (!document.hidden) timer = setTimeout(() => poll(onRefused), wait);
}

function take(sums, at) {
  const last = readings.at(-1);
  const seconds = last ? (at - last.at) / 1000 : 0;
  const reading = { at, sums, queued: sums.get("queued_sequences") ?? 0, rate: null, anomalies: null };
  // After a pause the mean over it would hide what happened, and a chart would draw a line across it.
  if (last && seconds > 0 && seconds < 3 * (PATIENCE / 1000)) {
    reading.rate = rise(last.sums, sums, "records_total") / seconds;
    reading.anomalies = (60 * rise(last.sums, sums, "anomalies_total")) / seconds;
    reading.tokens = rise(last.sums, sums, "scored_tokens_total") / seconds;
    const batches = rise(last.sums, sums, "batches_total");
    reading.batch = batches > 0 ? rise(last.sums, sums, "batch_records_total") / batches : null;
  }
  readings.push(reading);
  readings = readings.slice(-KEPT);
}

function show() {
  const now = readings.at(-1);
  showFacts(now);
  const drifting = now.sums.get("drifting_streams") ?? 0;
  const are = drifting === 1 ? "1 stream is" : `${whole(drifting)} streams are`;
  const warning = `Drift: ${are} unlike the normal records of the calibration. If they are normal, score --recalibrate learns anew.`;
  say(byId("live-drift"), drifting > 0 ? warning : "");
  // Said once, and then again only after it failed: what changes every two seconds is in the facts, which nobody reads aloud.
  say(byId("live-status"), "Measured every two seconds.");
  chart("rate", (reading) => reading.rate, "records a second");
  chart("anomaly", (reading) => reading.anomalies, "anomalies a minute");
  if (byId("live-details").open || byId("live-rows").childElementCount === 0) showRows();
}

function showFacts({ at, sums, tokens, batch }) {
  const total = (name) => whole(sums.get(name) ?? 0);
  const loaded = sums.get("model_loaded_timestamp_seconds");
  const facts = [
    ["records", total("records_total")],
    ["anomalies", total("anomalies_total")],
    ["lines that are no record", total("broken_records_total")],
    ["waiting", total("queued_sequences")],
    ["requests in progress", total("active_requests")],
    ["records a batch", batch == null ? "none now" : decimal(batch)],
    ["tokens a second", tokens == null ? "not yet known" : whole(tokens)],
    ["streams that drift", total("drifting_streams")],
    ["model loaded", loaded ? `${duration(at / 1000 - loaded)} ago` : "not said"],
  ];
  const list = byId("live-facts");
  if (list.childElementCount !== facts.length) {
    list.replaceChildren(...facts.map(([name]) => element("div", {}, element("dt", {}, name), element("dd"))));
  }
  facts.forEach(([, value], place) => {
    const shown = list.children[place].lastChild;
    if (shown.textContent !== value) shown.textContent = value;
  });
}

function showRows() {
  const rows = readings.slice(-ROWS).reverse().map(({ at, rate, anomalies, queued }) => {
    const number = (value) => element("td", { class: "number" }, value === null ? "not yet" : decimal(value));
    const time = new Date(at).toLocaleTimeString();
    return element("tr", {}, element("th", { scope: "row" }, time), number(rate), number(anomalies), number(queued));
  });
  byId("live-rows").replaceChildren(...rows);
}

// In pixels, like the width, so that texts keep their size in a narrow window.
const [HEIGHT, LEFT, BOTTOM, TOP] = [170, 46, 22, 8];

function drawn(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** Draws one value of the readings over the last five minutes, and says it in words. */
function chart(name, value, words) {
  const width = Math.max(byId(`${name}-chart`).clientWidth, 240);
  const points = readings.filter((reading) => value(reading) !== null);
  const values = points.map(value);
  const most = Math.max(...values, 0);
  const end = readings.at(-1).at;
  const begin = end - KEPT * EVERY;
  const top = niceTop(most);
  const x = (at) => LEFT + ((width - LEFT - 8) * (at - begin)) / (end - begin);
  const y = (number) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * number) / top;
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true", class: name });
  for (const number of [0, top / 2, top]) {
    picture.append(drawn("line", { class: "grid", x1: LEFT, x2: width - 8, y1: y(number), y2: y(number) }));
    picture.append(drawn("text", { x: LEFT - 6, y: y(number) + 4, "text-anchor": "end" }, decimal(number)));
  }
  for (const minutes of width < 420 ? [4, 2, 0] : [5, 4, 3, 2, 1, 0]) {
    const anchor = minutes === 0 ? "end" : "middle";
    picture.append(drawn("text", { x: x(end - minutes * 60_000), y: HEIGHT - 5, "text-anchor": anchor }, minutes ? `-${minutes} min` : "now"));
  }
  picture.append(drawn("path", { class: "line", d: line(points, value, x, y) }));
  byId(`${name}-chart`).replaceChildren(picture);
  const now = values.length ? `now ${decimal(values.at(-1))}, highest ${decimal(most)} in ${duration((end - points[0].at) / 1000)}` : "not yet known";
  byId(`${name}-words`).textContent = `${words[0].toUpperCase()}${words.slice(1)}: ${now}, from ${counted(values.length, "measurement")}.`;
}

/** A line through the points, with a gap where measurements are missing. */
function line(points, value, x, y) {
  let last = -Infinity;
  const steps = points.map((point) => {
    const letter = point.at - last > 2 * PATIENCE ? "M" : "L";
    last = point.at;
    return `${letter}${x(point.at).toFixed(1)} ${y(value(point)).toFixed(1)}`;
  });
  return steps.join("");
}

/** The next of 1, 2, 5, 10, 20, ... */
function niceTop(most) {
  if (most <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((digit) => digit * power).find((top) => top >= most);
}
