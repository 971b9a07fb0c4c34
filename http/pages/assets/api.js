import { seconds } from "./dom.js";

// ApiError is an answer that says no, or none at all, in words for a person.
// field is the path of the request's field that is wrong, or "".
export class ApiError extends Error {
  constructor(message, { status = 0, field = "", retry = 0 } = {}) {
    super(message);
    Object.assign(this, { status, field, retry });
  }
}

// Where the key lives: this tab, until it is closed. Never in an address.
const slot = "api-key";
let key = "";
try {
  key = sessionStorage.getItem(slot) ?? "";
} catch {
  // a browser without storage keeps it until the page is left
}

export const hasKey = () => key !== "";

export function setKey(word) {
  key = word;
  try {
    sessionStorage.setItem(slot, word);
  } catch {
    // as above
  }
}

// url is the full address of a path of the server, whatever prefix the page
// was reached by.
export const url = (path) => new URL(path, document.baseURI).href;

// request asks the server and returns { body, took, headers }: the JSON that it
// answered and the milliseconds that took. It throws an ApiError, or an
// AbortError if the signal was used.
export async function request(method, path, { body, signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  const start = performance.now();
  let res, text;
  try {
    res = await fetch(url(path), {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
    });
    text = await res.text();
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new ApiError("The server cannot be reached. It may have ended, or the network is gone.");
  }
  const took = performance.now() - start;
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch {
    if (res.ok) throw new ApiError("The answer is not JSON. Something between this page and the server may have changed it.", { status: res.status });
  }
  if (!res.ok) throw refusal(res, answer);
  return { body: answer, took, headers: res.headers };
}

// stream asks for events and hands each one's JSON to heard as it comes, until
// [DONE]. It throws as request does, and an ApiError for an event that says that
// the job failed.
export async function stream(path, body, heard, signal) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const lost = () => new ApiError("The connection was lost before the answer was whole.");
  let res;
  try {
    res = await fetch(url(path), { method: "POST", headers, signal, body: JSON.stringify(body), cache: "no-store", credentials: "same-origin" });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new ApiError("The server cannot be reached. It may have ended, or the network is gone.");
  }
  if (!res.ok) {
    let answer = null;
    try {
      answer = await res.json();
    } catch {
      // the status says enough
    }
    throw refusal(res, answer);
  }
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw lost();
    }
    if (part.done) throw lost();
    rest += part.value;
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
      const data = rest.slice(0, end).replace(/^data: /, "");
      if (data === "[DONE]") return res.headers;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(`The answer failed: ${event.error.message ?? event.error}`);
      heard(event);
    }
  }
}

// refusal words an answer that is no success.
function refusal(res, answer) {
  const said = answer?.error?.message ?? answer?.detail ?? "";
  const retry = Number(res.headers.get("Retry-After")) || 0;
  const again = retry > 0 ? ` Try again in ${seconds(retry)}.` : "";
  const words = {
    401: "The server wants an API key.",
    413: "That is too much text for one request.",
    429: `The queue is full.${again}`,
    503: `${answer?.status === "cancelled" ? "The job was cancelled by someone." : "The model cannot answer now."}${again}`,
    504: "The model took too long.",
  };
  let message = words[res.status];
  if (!message) {
    message = res.status < 500 ? "The server refuses this" : "The server failed";
    message += said ? `: ${said}` : ` (HTTP ${res.status}).`;
  }
  return new ApiError(message, { status: res.status, field: answer?.error?.param ?? "", retry });
}
