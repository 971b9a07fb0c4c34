// The panel of language models: a conversation, written as it comes.
import { copy, el, plural } from "../dom.js";

export const type = "text";
export const title = "Talk to the model";

const builtin = ["Hello!", "Count from 3 to 12.", "What is the capital of Norway?", "Who is the blacksmith of Larkhaven?", "What is 17 plus 25?", "Spell garden."];
const general = ["What can you do?", "Explain in two sentences why the sky is blue.", "Write a haiku about the sea.", "List three uses of a paper clip."];

export function mount(root, api) {
  const { model } = api;
  const turns = []; // { role, content, item }
  let running = null; // an AbortController

  const log = el("ol", { className: "talk", "aria-label": "Conversation" });
  const empty = el("div", { className: "empty" }, el("p", {}, model.chat
    ? "Ask something. The answer appears as the model writes it."
    : "This model has no chat template: it goes on with the text that you give it."));
  const starters = el("div", { className: "row starters", "aria-label": "Examples" },
    ...(model.id.startsWith("builtin-") ? builtin : general).map((text) => el("button", { type: "button", onclick: () => send(text) }, text)));
  const words = el("textarea", { id: "words", rows: 2, required: true, "aria-label": "Message", "aria-describedby": "words-hint", placeholder: model.chat ? "Your message" : "The beginning of a text" });
  const go = el("button", { type: "submit", className: "primary" }, model.chat ? "Send" : "Go on");
  const stop = el("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Stop");
  const again = el("button", { type: "button", disabled: true, onclick: repeat }, "Answer again");
  const clear = el("button", { type: "button", onclick: reset }, "New conversation");
  const error = el("p", { className: "wrong", role: "alert" });
  const figures = el("p", { className: "figures", role: "status" });
  const warnings = el("ul", { className: "warnings", "aria-label": "Warnings" });

  const system = el("textarea", { id: "system", rows: 2, placeholder: "none" });
  const number = (id, placeholder, rest) => el("input", { id, type: "number", step: "any", placeholder, ...rest });
  const temperature = number("temperature", "the model's own", { min: 0, max: 2 });
  const topP = number("top-p", "the model's own", { min: 0, max: 1 });
  const limit = number("limit", "to the end", { min: 1, step: 1 });
  const seed = number("seed", "another each time", { step: 1 });
  const options = el("details", { className: "options" },
    el("summary", {}, "Options"),
    el("div", { className: "fields" },
      ...(model.chat ? [el("label", { for: "system" }, "System message"), system] : []),
      el("label", { for: "temperature" }, "Temperature"), temperature,
      el("p", { className: "hint" }, "0 is the likeliest word each time."),
      el("label", { for: "top-p" }, "Top p"), topP,
      el("label", { for: "limit" }, "Most tokens"), limit,
      el("label", { for: "seed" }, "Seed"), seed));

  const command = el("code");
  const copied = el("span", { className: "hint", role: "status" });
  const curl = el("details", { className: "curl" },
    el("summary", {}, "The same with curl"),
    el("pre", { tabIndex: 0 }, command),
    el("div", { className: "row" },
      el("button", {
        type: "button",
        onclick: async () => {
          copied.textContent = (await copy(command.textContent, command)) ? "Copied." : "Select the text and copy it.";
        },
      }, "Copy"), copied));
  curl.addEventListener("toggle", write);

  const form = el("form", { className: "card input", "aria-label": title },
    el("h2", {}, title), starters, words,
    el("p", { id: "words-hint", className: "hint" }, "Enter sends, Shift+Enter begins a new line."),
    el("div", { className: "row" }, go, stop, again, clear), error, options, curl);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(words.value);
  });
  form.addEventListener("input", write);
  words.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  const result = el("div", { className: "card result" }, empty, log, figures, warnings);
  root.append(el("div", { className: "columns" }, form, result));
  words.focus();

  // body is the request for the conversation so far, with more behind it.
  function body(more = []) {
    const said = [...turns, ...more].map(({ role, content }) => ({ role, content }));
    const b = model.chat
      ? { messages: [...(system.value.trim() ? [{ role: "system", content: system.value }] : []), ...said] }
      : { prompt: said.map((t) => t.content).join("") };
    const set = (name, input) => {
      if (input.value !== "") b[name] = Number(input.value);
    };
    set("temperature", temperature);
    set("top_p", topP);
    set("max_tokens", limit);
    set("seed", seed);
    if (!model.chat) b.max_tokens ??= 100;
    return b;
  }

  const path = model.chat ? "v1/chat/completions" : "v1/completions";

  // write keeps the command in step with the form while it is shown.
  function write() {
    if (!curl.open) return;
    const b = JSON.stringify({ ...body(words.value ? [{ role: "user", content: words.value }] : []), stream: true });
    const key = api.hasKey() ? " \\\n  -H 'Authorization: Bearer YOUR_KEY'" : "";
    command.textContent = `curl -N ${api.url(path)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d '${b.replaceAll("'", "'\\''")}'`;
  }

  function show(role, content) {
    const text = el("p", { className: "said" }, content);
    const item = el("li", { className: role, "aria-label": role === "user" ? "You" : "The model" }, text);
    log.append(item);
    empty.hidden = true;
    return { role, content, item, text };
  }

  function send(text) {
    if (running || text.trim() === "") return;
    turns.push(show("user", text));
    words.value = "";
    words.focus();
    answer();
  }

  function repeat() {
    if (running || turns.length === 0) return;
    if (turns.at(-1).role === "assistant") turns.pop().item.remove();
    words.focus();
    answer();
  }

  function reset() {
    running?.abort();
    turns.length = 0;
    log.replaceChildren();
    warnings.replaceChildren();
    figures.textContent = error.textContent = "";
    empty.hidden = false;
    again.disabled = true;
    words.focus();
    write();
  }

  async function answer() {
    running = new AbortController();
    const mine = running;
    go.disabled = again.disabled = true;
    stop.hidden = false;
    error.textContent = figures.textContent = "";
    warnings.replaceChildren();
    for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    const request = { ...body(), stream: true, stream_options: { include_usage: true } };
    const turn = show("assistant", "");
    turn.item.setAttribute("aria-busy", "true");
    const began = performance.now();
    let [first, usage, reason] = [0, null, ""];
    try {
      await api.stream(path, request, (event) => {
        const choice = event.choices?.[0];
        const more = choice?.delta?.content ?? choice?.text ?? "";
        if (more && !first) first = performance.now() - began;
        if (more) {
          turn.content += more;
          turn.text.textContent = turn.content;
          turn.item.scrollIntoView({ block: "nearest" });
        }
        reason = choice?.finish_reason ?? reason;
        usage = event.usage ?? usage;
        warnings.append(...(event.warnings ?? []).map((w) => el("li", {}, w)));
      }, mine.signal);
      tell(usage, first, performance.now() - began, reason);
    } catch (e) {
      if (e.name === "AbortError") figures.textContent = "Stopped.";
      else refuse(e);
    } finally {
      turn.item.removeAttribute("aria-busy");
      if (log.contains(turn.item)) { // the conversation was not begun anew meanwhile
        if (turn.content) turns.push(turn);
        else turn.item.remove();
      }
      if (running === mine) running = null;
      go.disabled = false;
      stop.hidden = true;
      again.disabled = turns.length === 0;
      write();
    }
  }

  function tell(usage, first, took, reason) {
    if (!usage) return;
    const rate = usage.completion_tokens > 1 && took > first ? (usage.completion_tokens - 1) / ((took - first) / 1000) : 0;
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    figures.textContent = [
      `${plural(usage.completion_tokens, "token")} behind ${usage.prompt_tokens.toLocaleString("en")}${cached ? ` (${cached.toLocaleString("en")} cached)` : ""}`,
      `first after ${first.toFixed(first < 10 ? 1 : 0)} ms`,
      rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} tokens a second` : "",
      reason === "length" ? "cut by the most tokens" : "",
    ].filter(Boolean).join(" · ");
  }

  function refuse(e) {
    error.textContent = e.message;
    const input = { temperature, top_p: topP, max_tokens: limit, seed }[e.field];
    if (!input) return;
    options.open = true;
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}
