// Requests to the server that sent this page. Addresses are relative, so that the page works below a path of a proxy, too.

import { visible } from "./dom.js";

const KEY = "logwright-token";

/** What the server, or the way to it, answered instead of a result. */
export class Refused extends Error {
  constructor(message, status = 0, wait = 0) {
    super(message);
    this.status = status;
    // Seconds to wait before the same request may succeed; 0 where it would not.
    this.wait = wait;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** The response to a request, if it is a success. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token.get()) headers.set("Authorization", `Bearer ${token.get()}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Check that it runs, and that this machine reaches it, and try again.");
  }
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response) {
  const text = await response.text().catch(() => "");
  const wait = Number(response.headers.get("Retry-After")) || 0;
  return new Refused(`${message(text) || `The server answered ${response.status}.`}`, response.status, wait);
}

/** The words of `{"error": {"message": ...}}`, or a text that is short enough to be words. */
function message(text) {
  try {
    return sentence(JSON.parse(text).error.message);
  } catch {
    return text.length <= 300 && !text.includes("<") ? sentence(text) : "";
  }
}

/** The server's messages begin in lower case, like those of a command line; some with the name of a parameter, which stays. */
export function sentence(text) {
  const words = visible(text).trim();
  const begin = /^[\w.]+:/.test(words) ? words.slice(0, 1) : words.slice(0, 1).toUpperCase();
  return words && `${begin}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

/** As `request`, but while the server is busy it waits as long as it is told to, a few times; `waiting` hears of it. */
export async function patientRequest(path, options, waiting) {
  for (let tries = 1; ; tries++) {
    try {
      return await request(path, options);
    } catch (error) {
      if (error.status !== 429 || tries === 10) throw error;
      const seconds = Math.min(error.wait || 1, 60);
      waiting(seconds);
      await pause(seconds * 1000, options.signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((done, failed) => {
    const stop = () => (clearTimeout(timer), failed(signal.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), done()), milliseconds);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The lines of a response as they come, without the empty ones. */
export async function* lines(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      const parts = (rest + (done ? decoder.decode() : decoder.decode(value, { stream: true }))).split("\n");
      rest = done ? "" : parts.pop();
      for (const line of parts) if (line.trim() !== "") yield line;
      if (done) return;
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The connection broke before the answer was whole. What came before is shown; try again for the rest.");
  } finally {
    // A reader who leaves early must not keep the connection.
    reader.cancel().catch(() => {});
  }
}

/** The JSON objects of a stream of server-sent events, up to `[DONE]`. */
export async function* events(response) {
  for await (const line of lines(response)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice("data:".length).trim();
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new Refused(sentence(event.error.message ?? event.error));
    yield event;
  }
  throw new Refused("The connection ended before the last record was whole. Try again.");
}
