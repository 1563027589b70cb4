// The view that generates records: conditions of the model, records as they come, records to take along.

import { Refused, events, patientRequest } from "./api.js";
import { byId, copy, counted, download, element, say, visibleLines, whole } from "./dom.js";

// How often the sentence about the progress changes: a screen reader says each one.
const SAID_EVERY = 3000;

// What can be done with whole records, when there are some.
const TAKING = ["generated-copy", "generated-download", "generated-score"];

let running = null;
let said = 0;
let model = null;
// By index: { text, reason, item, pre, verdict }.
let samples = [];

export function setUp(onRefused, onScore) {
  byId("generate-form").addEventListener("submit", (event) => (event.preventDefault(), start(onRefused)));
  byId("generate-stop").addEventListener("click", () => running?.abort());
  byId("generated-download").addEventListener("click", () => {
    const name = isJson() ? "generated.jsonl" : "generated.log";
    download(new Blob([finishedText()], { type: "text/plain" }), name);
  });
  byId("generated-copy").addEventListener("click", async () => {
    const done = await copy(finishedText());
    const number = finished().length;
    say(byId("generated-copied"), done ? `Copied ${counted(number, "record")}.` : "The browser does not let the page copy; download the records instead.");
  });
  byId("generated-score").addEventListener("click", () => onScore(finishedText()));
}

/** Asks for what this model knows: its conditions, and whether it has a learnt schema. */
export function setModel(data) {
  model = data;
  const { conditions = [], has_learned_schema: hasSchema, form } = data.logwright ?? {};
  byId("condition-fields").replaceChildren(...conditions.flatMap(conditionFields));
  byId("conditions").hidden = conditions.length === 0;
  const choices = [["free", "no grammar"]];
  if (form !== "text") choices.push(["json_object", "any JSON object"]);
  if (hasSchema) choices.push(["learned", "the learnt schema"]);
  byId("within").replaceChildren(...choices.map(([value, words]) => element("option", { value }, words)));
}

/** Whether records are JSON, which a prefix may precede in training. */
const isJson = () => (model?.logwright?.form ?? "text") !== "text";

function conditionFields({ name, date }, at) {
  const field = (id, words, attributes) =>
    element("div", {}, element("label", { for: id }, words), element("input", { id, ...attributes }));
  if (date) {
    return [["from", "from"], ["to", "to"]].map(([end, words]) =>
      field(`condition-${at}-${end}`, `${name}, ${words}`, { type: "date", "data-end": end }));
  }
  const attributes = { type: "text", "data-name": name, spellcheck: "false", autocapitalize: "off", autocomplete: "off" };
  return [field(`condition-${at}`, name, attributes)];
}

/** The request as the form says it. */
function body() {
  const asked = {
    model: model?.id,
    prompt: byId("prompt").value,
    n: byId("number").valueAsNumber,
    temperature: byId("temperature").valueAsNumber,
    max_tokens: byId("max-tokens").valueAsNumber,
    seed: byId("seed").valueAsNumber,
    stream: true,
  };
  const within = byId("within").value;
  if (within !== "free") asked.response_format = { type: within };
  const where = {};
  for (const input of byId("condition-fields").querySelectorAll("input")) {
    if (input.value === "") continue;
    if (input.dataset.end) asked[input.dataset.end] = input.value;
    else where[input.dataset.name] = input.value;
  }
  if (Object.keys(where).length > 0) asked.where = where;
  return asked;
}

async function start(onRefused) {
  if (running) return;
  const asked = body();
  begin();
  try {
    const options = { method: "POST", body: JSON.stringify(asked), headers: { "Content-Type": "application/json" }, signal: running.signal };
    const waiting = (seconds) => say(byId("generate-status"), `The server is busy; waiting ${counted(seconds, "second")}.`);
    const response = await patientRequest("v1/completions", options, waiting);
    for await (const event of events(response)) {
      for (const choice of event.choices ?? []) take(choice, asked);
    }
    say(byId("generate-status"), `Done: ${summary()}.`);
    byId("generated").dataset.state = "done";
  } catch (error) {
    failed(error);
    if (error.status === 401) onRefused(error, () => start(onRefused));
  } finally {
    end();
  }
}

function begin() {
  running = new AbortController();
  said = performance.now();
  samples = [];
  byId("samples").replaceChildren();
  byId("generated").hidden = false;
  byId("generated").dataset.state = "running";
  say(byId("generate-problem"), "");
  say(byId("generated-copied"), "");
  say(byId("generate-status"), "Generating.");
  byId("generate-start").disabled = true;
  byId("generate-stop").disabled = false;
  for (const id of TAKING) byId(id).disabled = true;
}

function end() {
  const hadFocus = document.activeElement === byId("generate-stop");
  running = null;
  byId("generate-start").disabled = false;
  byId("generate-stop").disabled = true;
  for (const id of TAKING) byId(id).disabled = finished().length === 0;
  if (hadFocus) byId("generate-start").focus();
}

function failed(error) {
  byId("generated").dataset.state = "failed";
  const stopped = error.name === "AbortError";
  if (!stopped && !(error instanceof Refused)) console.error(error);
  if (samples.length === 0) byId("generated").hidden = true;
  for (const sample of samples) if (sample && !sample.reason) finish(sample, "broken", "not finished");
  say(byId("generate-status"), `${stopped ? "Stopped" : "It ended early"}: ${summary()}.`);
  if (!stopped) say(byId("generate-problem"), error.message);
}

/** Takes in what came of one record. */
function take(choice, asked) {
  samples[choice.index] ??= add(choice.index, asked.prompt);
  const sample = samples[choice.index];
  sample.text += choice.text ?? "";
  sample.pre.textContent = visibleLines(sample.text);
  if (!choice.finish_reason) return;
  sample.reason = choice.finish_reason;
  if (performance.now() - said > SAID_EVERY) {
    said = performance.now();
    const done = samples.filter((other) => other?.reason).length;
    say(byId("generate-status"), `Generating: ${whole(done)} of ${counted(asked.n, "record")} so far.`);
  }
  if (choice.finish_reason === "length") finish(sample, "broken", `cut off after ${counted(asked.max_tokens, "token")}`);
  else if (choice.finish_reason !== "stop") finish(sample, "broken", choice.finish_reason);
  else finish(sample, ...verdict(sample.text));
}

/** Whether a whole record is what its form says. */
function verdict(text) {
  if (!isJson()) return ["normal", "whole"];
  try {
    JSON.parse(text);
    return ["normal", "whole, valid JSON"];
  } catch {
    return ["broken", "whole, but not valid JSON"];
  }
}

function add(index, prompt) {
  const pre = element("pre", { dir: "ltr" });
  const said = element("p", { class: "verdict" }, "being written");
  const item = element("li", { class: "plain" }, said, pre);
  // Records come in any order; the list keeps that of their numbers.
  const next = samples.slice(index + 1).find(Boolean);
  byId("samples").insertBefore(item, next?.item ?? null);
  return { text: prompt, reason: null, item, pre, said, index };
}

function finish(sample, kind, words) {
  sample.item.className = kind;
  sample.said.textContent = `record ${whole(sample.index + 1)}: ${words}`;
}

// A record that was cut off is shown, but not taken along as if it were whole.
const finished = () => samples.filter((sample) => sample?.reason === "stop");
const finishedText = () => finished().map(({ text }) => `${text}\n`).join("");

function summary() {
  const cut = samples.filter(Boolean).length - finished().length;
  const left = cut > 0 ? `; ${whole(cut)} not, which are shown but not taken along` : "";
  return `${counted(finished().length, "whole record")}${left}`;
}
