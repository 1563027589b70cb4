// The view that scores lines: input in pieces, answers as they come, the list of records, findings to take along.

import { Refused, lines, patientRequest, request, sentence } from "./api.js";
import { byId, bytes, copy, counted, decimal, download, element, say, whole } from "./dom.js";
import { TooLong, looksLikeTable, pieces, streamOf } from "./pieces.js";
import { driftWords, isAnomaly, isBroken, isSession, meanings, oddness, row, tally } from "./records.js";

// Rows that are kept for the list, and those that are opened by themselves.
const SHOWN = 2000;
const OPENED = 10;
const OPENED_ANOMALIES = 200;
// How often the sentence about the progress changes: a screen reader says each one.
const SAID_EVERY = 3000;

let running = null;
let chosen = null;
let result = null;
let isCalibrated = true;
// The frame in which more rows are opened or closed.
let opening = 0;

/** What was found so far. */
class Result {
  counts = { records: 0, sessions: 0, anomalies: 0, broken: 0 };
  // Rows as { answer, item }, in the order of the records.
  rows = [];
  threshold = null;
  highest = 0;
  opened = 0;
  // When the sentence about the progress last changed.
  said = performance.now();
  // All findings as JSON lines, and those that the filter leaves.
  all = new LineFile();
  filtered = new LineFile();
}

/** Lines that become a file. Blobs need not stay in memory. */
class LineFile {
  #blobs = [];
  #last = [];
  #length = 0;
  count = 0;

  add(line) {
    this.#last.push(line, "\n");
    this.count += 1;
    this.#length += line.length;
    if (this.#length > 1 << 20) this.#fold();
  }

  #fold() {
    this.#blobs.push(new Blob(this.#last));
    this.#last = [];
    this.#length = 0;
  }

  blob() {
    this.#fold();
    return new Blob(this.#blobs, { type: "application/x-ndjson" });
  }
}

export function setUp(onRefused) {
  const legend = meanings().map(([kind, words]) => element("li", { class: kind }, words));
  byId("legend").append(...legend);
  byId("score-form").addEventListener("submit", (event) => (event.preventDefault(), start(onRefused)));
  byId("score-stop").addEventListener("click", () => running?.abort());
  byId("lines").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) (event.preventDefault(), byId("score-form").requestSubmit());
  });
  byId("lines").addEventListener("input", () => (byId("has-header").checked = looksLikeTable(byId("lines").value.slice(0, 10_000))));
  byId("file").addEventListener("change", () => choose(byId("file").files[0] ?? null));
  byId("file-away").addEventListener("click", () => (choose(null), byId("lines").focus()));
  byId("only-anomalies").addEventListener("change", filter);
  byId("order").addEventListener("change", arrange);
  byId("open-all").addEventListener("click", () => setOpen(true));
  byId("close-all").addEventListener("click", () => setOpen(false));
  byId("copy").addEventListener("click", copyFindings);
  byId("download").addEventListener("click", () => {
    const file = byId("only-anomalies").checked ? result.filtered : result.all;
    download(file.blob(), "findings.jsonl");
  });
  setUpDrop();
}

/** Says whether the model has a calibration, without which there are no verdicts. */
export const setCalibrated = (calibrated) => (isCalibrated = calibrated);

/** Scores these lines, as if they had been pasted. */
export function scoreText(text) {
  choose(null);
  byId("lines").value = text;
  byId("score-form").requestSubmit();
}

function setUpDrop() {
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!holdsFile(event)) return;
    event.preventDefault();
    location.hash = "#score";
    choose(event.dataTransfer.files[0] ?? null);
    byId("score-start").focus();
  });
}

/** Takes a file instead of the lines, or (null) the lines again. */
async function choose(file) {
  chosen = file;
  byId("file-away").hidden = file === null;
  byId("lines").disabled = file !== null;
  say(byId("score-problem"), "");
  if (file === null) byId("file").value = "";
  byId("lines-hint").textContent = file
    ? `Score takes the file ${file.name} (${bytes(file.size)}), not the lines above.`
    : "Paste lines, or drop a file on this page. Ctrl+Enter scores.";
  const isTable = file && (/\.(csv|tsv)$/i.test(file.name) || looksLikeTable(await file.slice(0, 10_000).text()));
  byId("has-header").checked = Boolean(isTable);
}

async function start(onRefused) {
  if (running) return;
  const source = chosen ?? new Blob([byId("lines").value]);
  if (source.size === 0) {
    say(byId("score-problem"), "There are no lines yet: paste some, or choose a file.");
    byId("lines").focus();
    return;
  }
  begin();
  try {
    await scoreAll(source, running.signal);
    say(byId("score-status"), `Done: ${tally(result.counts, isCalibrated)}.`);
    byId("results").dataset.state = "done";
  } catch (error) {
    failed(error);
    if (error.status === 401) onRefused(error, () => start(onRefused));
  } finally {
    end();
  }
}

function begin() {
  running = new AbortController();
  result = new Result();
  byId("records").replaceChildren();
  byId("results").hidden = false;
  byId("results").dataset.state = "running";
  for (const id of ["score-problem", "score-drift", "copied"]) say(byId(id), "");
  say(byId("score-status"), "Scoring.");
  byId("score-start").disabled = true;
  byId("score-stop").disabled = false;
  byId("score-progress").hidden = false;
  byId("score-progress").value = 0;
  show();
}

function end() {
  const hadFocus = document.activeElement === byId("score-stop");
  running = null;
  byId("score-start").disabled = false;
  byId("score-stop").disabled = true;
  byId("score-progress").hidden = true;
  if (hadFocus) byId("score-start").focus();
  show();
}

function failed(error) {
  byId("results").dataset.state = "failed";
  const stopped = error.name === "AbortError";
  if (!stopped && !(error instanceof Refused) && !(error instanceof TooLong)) console.error(error);
  if (result.all.count === 0) byId("results").hidden = true;
  say(byId("score-status"), `${stopped ? "Stopped" : "It ended early"} after ${tally(result.counts, isCalibrated)}.`);
  if (!stopped) say(byId("score-problem"), error.message);
}

/** Sends the source piece by piece, and takes in the answers to each. */
async function scoreAll(source, signal) {
  // Pieces of one name continue one stream, so that numbers of records, sessions and drift go on.
  const name = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const all = pieces(await streamOf(source), byId("has-header").checked);
  let next = await all.next();
  let sent = 0;
  let isOpen = false;
  try {
    while (!next.done) {
      const piece = next.value;
      next = await all.next();
      const query = new URLSearchParams({ shade: "true", top_fields: String(byId("top-fields").valueAsNumber) });
      if (isOpen || !next.done) query.set("stream", `page-${name}`);
      if (isOpen && next.done) query.set("end", "true");
      isOpen = !next.done;
      await scorePiece(piece, query, signal);
      sent += piece.length;
      showProgress(sent / source.size);
    }
  } finally {
    await all.return();
    // The server would keep the stream for as long as it waits for the next piece.
    if (isOpen) request(`score?stream=page-${name}&end=true`, { method: "POST", body: "", keepalive: true }).catch(() => {});
  }
}

async function scorePiece(piece, query, signal) {
  const options = { method: "POST", body: piece, headers: { "Content-Type": "text/plain; charset=utf-8" }, signal };
  const waiting = (seconds) => say(byId("score-status"), `The server is busy; waiting ${counted(seconds, "second")}.`);
  const response = await patientRequest(`score?${query}`, options, waiting);
  for await (const line of lines(response)) {
    take(JSON.parse(line));
    if (performance.now() - result.said < SAID_EVERY) continue;
    result.said = performance.now();
    say(byId("score-status"), `Scored ${tally(result.counts, isCalibrated)} so far.`);
  }
}

/** More than 1 of a packed file, whose length when unpacked is not known. */
function showProgress(share) {
  if (share <= 1) byId("score-progress").value = share;
  else byId("score-progress").removeAttribute("value");
}

/** Takes in one answer. */
function take(answer) {
  // The answer had begun when this happened, so it has no status of its own.
  if (typeof answer.error === "object" && answer.error !== null) throw new Refused(sentence(answer.error.message));
  const { counts } = result;
  const { tokens, ...finding } = answer;
  const line = JSON.stringify(finding);
  result.all.add(line);
  if (isAnomaly(answer) || isBroken(answer)) result.filtered.add(line);
  if (isBroken(answer)) counts.broken += 1;
  else if (isSession(answer)) [counts.sessions, counts.records] = [counts.sessions + 1, counts.records + answer.records];
  else counts.records += 1;
  if (isAnomaly(answer)) counts.anomalies += 1;
  if (typeof answer.threshold === "number") result.threshold = answer.threshold;
  if (!isBroken(answer)) result.highest = Math.max(result.highest, answer.score, answer.threshold ?? 0);
  if (answer.drift) say(byId("score-drift"), driftWords(answer.drift));
  if (result.rows.length < SHOWN || makeRoom(answer)) addRow(answer);
  scheduleShow();
}

/** Once all rows are taken, an anomaly takes the place of the last normal one. */
function makeRoom(answer) {
  if (!isAnomaly(answer)) return false;
  const at = result.rows.findLastIndex((kept) => !isAnomaly(kept.answer));
  if (at < 0) return false;
  result.rows[at].item.remove();
  result.rows.splice(at, 1);
  return true;
}

function addRow(answer) {
  const item = row(answer);
  result.rows.push({ answer, item });
  const opens = isAnomaly(answer) ? OPENED_ANOMALIES : OPENED;
  if (result.opened < opens) {
    item.open(true);
    result.opened += 1;
  }
  item.hidden = isFilteredOut(answer);
  byId("records").insertBefore(item, byId("order").value === "score" ? firstBelow(answer) : null);
}

/** The first row of the list, which is ordered by score, that comes behind the answer. */
function firstBelow(answer) {
  const items = byId("records").children;
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].oddness >= oddness(answer)) low = middle + 1;
    else high = middle;
  }
  return items[low] ?? null;
}

const isFilteredOut = (answer) => byId("only-anomalies").checked && !isAnomaly(answer) && !isBroken(answer);

/** The rows in the order of the list, those that the filter leaves. */
function shownRows() {
  const rows = result.rows.filter(({ answer }) => !isFilteredOut(answer));
  return byId("order").value === "score" ? rows.toSorted((a, b) => oddness(b.answer) - oddness(a.answer)) : rows;
}

function filter() {
  for (const { answer, item } of result.rows) item.hidden = isFilteredOut(answer);
  show();
}

function arrange() {
  const rows = byId("order").value === "score" ? result.rows.toSorted((a, b) => oddness(b.answer) - oddness(a.answer)) : result.rows;
  byId("records").append(...rows.map(({ item }) => item));
}

/** Opens or closes all rows, some in each frame, because thousands of shaded records take seconds. */
function setOpen(open) {
  const rows = shownRows();
  let next = 0;
  cancelAnimationFrame(opening);
  const some = () => {
    const end = performance.now() + 30;
    while (next < rows.length && performance.now() < end) rows[next++].item.open(open);
    if (next < rows.length) opening = requestAnimationFrame(some);
  };
  some();
}

let isScheduled = false;

/** Writes the numbers once a frame, however many answers come. */
function scheduleShow() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => ((isScheduled = false), show()));
}

function show() {
  const { records, sessions, anomalies, broken } = result.counts;
  byId("count-records").textContent = whole(records);
  byId("count-anomalies").textContent = isCalibrated || result.threshold !== null ? whole(anomalies) : "no threshold";
  byId("count-broken").textContent = whole(broken);
  byId("records").style.setProperty("--highest", result.highest || 1);
  byId("threshold").textContent = result.threshold === null ? "none" : decimal(result.threshold);
  const rows = result.rows.filter(({ answer }) => !isFilteredOut(answer)).length;
  const all = byId("only-anomalies").checked ? anomalies + broken : (sessions || records) + broken;
  const rest = all - rows;
  const left = rest > 0 ? `; ${whole(rest)} more are counted and in the download, but not listed` : "";
  byId("shown").textContent = rows === 0 && !running ? "Nothing to list." : `${counted(rows, "row")} listed${left}.`;
}

async function copyFindings() {
  const rows = shownRows();
  const text = rows.map(({ answer: { tokens, ...finding } }) => `${JSON.stringify(finding)}\n`).join("");
  const done = await copy(text);
  say(byId("copied"), done ? `Copied ${counted(rows.length, "finding")} as JSON lines.` : "The browser does not let the page copy; download the findings instead.");
}
