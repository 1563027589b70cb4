// The page of the server: which view is shown, the model's name, the token.

import { request, token } from "./api.js";
import { byId, say, visible, whole } from "./dom.js";
import * as generate from "./generate.js";
import * as live from "./live.js";
import * as score from "./score.js";

const VIEWS = ["score", "generate", "live"];

/** Shows the view that the address names, which links, bookmarks and the button Back then share. */
function showView() {
  const named = location.hash.slice(1);
  if (!VIEWS.includes(named) && named !== "") return;
  const shown = named || VIEWS[0];
  for (const view of VIEWS) byId(`${view}-view`).hidden = view !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${shown}-heading`).textContent} - logwright`;
}

// What to do again once there is a token.
let retries = new Set();

/** Asks for a token, and repeats what was refused when there is one. */
function askForToken(error, retry) {
  retries.add(retry);
  const wasHidden = byId("token-form").hidden;
  byId("token-form").hidden = false;
  say(byId("token-why"), error.message);
  byId("token-forget").hidden = true;
  if (wasHidden) byId("token").focus();
}

async function useToken(event) {
  event.preventDefault();
  token.set(byId("token").value.trim());
  byId("token").value = "";
  try {
    await loadModel();
  } catch (error) {
    token.forget();
    say(byId("token-why"), error.status === 401 ? `The server does not take this token. ${error.message}` : error.message);
    byId("token").setAttribute("aria-invalid", "true");
    byId("token").focus();
    return;
  }
  byId("token").removeAttribute("aria-invalid");
  byId("token-form").hidden = true;
  byId("token-forget").hidden = false;
  const waiting = retries;
  retries = new Set();
  for (const retry of waiting) retry();
  byId("content").focus();
}

async function loadModel() {
  const response = await request("v1/models");
  const [model] = (await response.json()).data;
  const { form, context, parameters, calibrated, version } = model.logwright ?? {};
  const facts = [`Model ${visible(model.id)}`];
  if (parameters) facts.push(`${whole(parameters)} parameters`);
  if (context) facts.push(`context of ${whole(context)} tokens`);
  if (form) facts.push(form === "text" ? "learnt from lines of text" : "learnt from JSON records");
  facts.push(calibrated ? "calibrated" : "not calibrated, so there are scores, but no verdicts (score --calibrate learns what is normal)");
  if (version) facts.push(`logwright ${visible(version)}`);
  byId("model").textContent = `${facts.join("; ")}.`;
  score.setCalibrated(Boolean(calibrated));
  generate.setModel(model);
}

async function begin() {
  try {
    await loadModel();
    byId("token-forget").hidden = !token.get();
  } catch (error) {
    byId("model").textContent = error.status === 401 ? "The model is shown once there is a token." : error.message;
    if (error.status === 401) askForToken(error, () => {});
  }
  live.setUp(askForToken);
}

addEventListener("hashchange", () => (showView(), VIEWS.includes(location.hash.slice(1)) && scrollTo(0, 0)));
byId("token-form").addEventListener("submit", useToken);
byId("token-forget").addEventListener("click", () => (token.forget(), location.reload()));
score.setUp(askForToken);
generate.setUp(askForToken, (text) => {
  location.hash = "#score";
  score.scoreText(text);
});
showView();
begin();
