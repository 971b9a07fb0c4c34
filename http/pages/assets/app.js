// The page: what the server says of itself, and the panel of its model's type.
import { hasKey, request, setKey, stream, url } from "./api.js";
import { bytes, el, plural, seconds } from "./dom.js";

// A type's panel is a module that exports type, title and mount(root, api): it
// fills root, and asks the server by api:
//   api.model                      the model, as /v1/models describes it
//   api.post(path, body, signal)   { body, took, headers }; throws an ApiError
//   api.stream(path, body, heard, signal)   hands each event to heard
//   api.url(path), api.hasKey()    for commands that a person may copy
const panels = {
  embed: () => import("./panels/embed.js"),
  text: () => import("./panels/text.js"),
};

const failures = ["Error downloading model files", "Model configuration not found", "Model initialization FAILED", "the GPU failed"];

// Milliseconds between two looks at the status.
const pace = { starting: 1000, serving: 5000, lost: 3000 };

const at = (id) => document.getElementById(id);
const notice = at("notice");
const panel = at("panel");
let mounted = ""; // the type and the model that the panel is for
let timer = 0;
let looking = false;

// look asks for the status and shows it, again and again while the page is
// seen.
async function look() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  let next = pace.lost;
  try {
    next = await show((await request("GET", "api/status")).body);
  } catch (e) {
    next = trouble(e);
  } finally {
    looking = false;
  }
  if (next > 0 && !document.hidden) timer = setTimeout(look, next);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!at("key")) look();
});

async function show(status) {
  if (!mounted) at("name").textContent = status.model;
  document.title = `${status.model} · model server`;
  if (status.status !== "ready") {
    const failed = failures.includes(status.status);
    state(failed ? "failed" : "busy", failed ? "Not available" : "Not ready yet");
    tell(failed ? failureCard(status) : startCard(status));
    if (!mounted) facts([status.type]);
    return pace.starting;
  }
  state("ready", status.queue === 0 ? "Ready" : `Ready, ${plural(status.queue, "job")} waiting`);
  tell();
  const served = `${status.type} ${status.model}`;
  if (mounted !== served) { // the first look, or another server has come in its place
    const model = (await request("GET", "v1/models")).body.data[0];
    describe(status, model);
    await mount(status.type, model);
    mounted = served;
  }
  return pace.serving;
}

function trouble(e) {
  if (e.status === 401) {
    state("failed", "Locked");
    askKey();
    return 0;
  }
  state("failed", e.status ? "Trouble" : "No connection");
  tell(el("div", { className: "card bad" }, el("h2", {}, e.message), el("p", {}, "This page keeps trying.")));
  return pace.lost;
}

// state is the word at the top.
function state(kind, text) {
  at("state").dataset.state = kind;
  if (at("state-text").textContent !== text) at("state-text").textContent = text;
}

function facts(list) {
  at("facts").replaceChildren(...list.filter(Boolean).map((f) => el("li", {}, f)));
}

function describe(status, model) {
  at("name").textContent = model.id;
  facts([
    model.root !== model.id ? model.root : "",
    model.type,
    model.device ?? (status.gpu ? "gpu" : ""),
    model.dtype,
    model.dimensions ? `${model.dimensions} dimensions` : "",
    model.max_model_len ? `${model.max_model_len.toLocaleString("en")} tokens` : "",
  ]);
}

async function mount(type, model) {
  panel.replaceChildren();
  panel.hidden = false;
  if (!Object.hasOwn(panels, type)) {
    panel.append(
      el("div", { className: "card" },
        el("h2", {}, `No panel for type ${type}`),
        el("p", {}, "This page cannot try such a model yet; see the ", el("a", { href: "docs" }, "API documentation"), ".")),
    );
    return;
  }
  const { title, mount: fill } = await panels[type]();
  panel.setAttribute("aria-label", title);
  const open = (ask) => async (...args) => {
    try {
      return await ask(...args);
    } catch (e) {
      if (e.status === 401) trouble(e);
      throw e;
    }
  };
  const post = open((path, body, signal) => request("POST", path, { body, signal }));
  fill(panel, { model, post, stream: open(stream), url, hasKey });
}

// tell shows cards above the panel. One that is the same already stays as it
// is, so that a screen reader does not read it again.
function tell(...cards) {
  const shown = notice.textContent;
  if (cards.length === 1 && shown === cards[0].textContent) return;
  notice.replaceChildren(...cards);
}

let bar = null; // the card of a download, which is updated in place

function startCard(status) {
  const p = status.progress;
  if (!p) return el("div", { className: "card" }, el("h2", {}, status.status), el("p", {}, "This page becomes usable by itself."));
  const known = p.total_bytes > 0;
  const words = [
    known ? `${bytes(p.bytes)} of ${bytes(p.total_bytes)}` : bytes(p.bytes),
    `${p.files_done} of ${plural(p.files, "file")}`,
    p.bytes_per_second > 0 ? `${bytes(p.bytes_per_second)} a second` : "",
    p.eta_seconds !== null && p.eta_seconds !== undefined ? `${seconds(p.eta_seconds)} left` : "",
  ].filter(Boolean).join(" · ");
  if (!bar || !notice.contains(bar)) {
    bar = el("div", { className: "card" },
      el("h2", {}, status.status),
      el("progress", { "aria-label": "Download" }),
      el("p", { "aria-live": "off" }));
  }
  const meter = bar.querySelector("progress");
  if (known) {
    meter.max = p.total_bytes;
    meter.value = Math.min(p.bytes, p.total_bytes);
  } else {
    meter.removeAttribute("value");
  }
  bar.querySelector("p").textContent = words;
  return bar;
}

function failureCard(status) {
  return el("div", { className: "card bad" },
    el("h2", {}, status.status),
    el("p", {}, "The server could not start the model and will end soon. Its log says why."));
}

function askKey() {
  if (at("key")) {
    at("key-wrong").textContent = "That key is not accepted.";
    at("key").select();
    return;
  }
  const tried = hasKey();
  const input = el("input", { id: "key", type: "password", autocomplete: "off", spellcheck: false, required: true, "aria-describedby": "key-wrong" });
  const form = el("form", { className: "card key" },
    el("h2", {}, "This server wants an API key"),
    el("p", {}, "It stays in this tab and goes nowhere but to this server."),
    el("label", { for: "key" }, "API key"),
    el("div", { className: "row" }, input, el("button", { className: "primary" }, "Unlock")),
    el("p", { id: "key-wrong", className: "wrong" }, tried ? "The key that was entered is not accepted." : ""));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(input.value.trim());
    look();
  });
  notice.replaceChildren(form);
  input.focus();
}

look();
