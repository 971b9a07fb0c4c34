// The panel of embedding models: texts in, a map of how close they are out.
import { copy, el, plural } from "../dom.js";
import { drawMap } from "./heatmap.js";

export const type = "embed";
export const title = "How close are these texts?";

// The most texts: a larger map is not readable.
const most = 32;

const examples = [
  [
    "How do I reset my password?",
    "I forgot my login and need a new password.",
    "The train to Berlin leaves at noon.",
    "When does the next train depart?",
    "Heat the oil and fry the onions.",
    "Cook the onions in a hot pan.",
  ],
  [
    "Where can I see the opening hours?",
    "The library is open from nine to six.",
    "Is there a doctor nearby?",
    "The clinic is at the end of the street.",
    "How long does delivery take?",
    "Your parcel arrives within three days.",
  ],
  ["cat", "kitten", "dog", "car", "truck", "bicycle", "apple", "banana", "bread"],
];

export function mount(root, api) {
  const { model } = api;
  let running = null; // an AbortController
  let shown = 0; // of examples

  const list = el("ol", { className: "texts" });
  const add = el("button", { type: "button", onclick: () => insert("").focus() }, "Add a text");
  const more = el("button", {
    type: "button",
    onclick: () => {
      shown = (shown + 1) % examples.length;
      fill(examples[shown]);
    },
  }, "Other examples");
  const clear = el("button", { type: "button", onclick: () => fill([""])[0].focus() }, "Clear");
  const go = el("button", { type: "submit", className: "primary" }, "Compare");
  const stop = el("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Cancel");
  const error = el("p", { className: "wrong", role: "alert" });

  const size = el("input", {
    id: "size", type: "number", inputMode: "numeric", min: 1, max: model.dimensions, placeholder: `all ${model.dimensions}`, "aria-describedby": "size-hint",
  });
  const prompts = model.prompts ?? [];
  const prompt = el("select", { id: "prompt" }, el("option", { value: "" }, "the model's own"), ...prompts.map((p) => el("option", { value: p }, p)));
  const options = el("details", { className: "options" },
    el("summary", {}, "Options"),
    el("div", { className: "fields" },
      el("label", { for: "size" }, "Dimensions"), size,
      el("p", { id: "size-hint", className: "hint" }, model.matryoshka?.length ? `Trained for ${model.matryoshka.join(", ")}.` : "Shorter vectors take less room and tell less."),
      ...(prompts.length ? [el("label", { for: "prompt" }, "Prompt"), prompt] : [])));

  const map = el("div", { className: "map" });
  const figures = el("p", { className: "figures", role: "status" });
  const warnings = el("ul", { className: "warnings", "aria-label": "Warnings" });
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

  const form = el("form", { className: "card input", "aria-label": "Texts" },
    el("h2", {}, title),
    el("p", { className: "hint" }, "One text a line. Enter begins the next one, Ctrl+Enter compares."),
    list,
    el("div", { className: "row" }, add, more, clear),
    options,
    el("div", { className: "row" }, go, stop),
    error,
    curl);
  const result = el("section", { className: "card result", "aria-label": "Similarity" },
    el("h2", {}, "Similarity"), map, figures, warnings);
  root.append(el("div", { className: "columns" }, form, result));

  const rows = () => [...list.querySelectorAll("input")];

  // insert adds a text behind a row, or at the end, and returns its field.
  function insert(text, after) {
    if (list.children.length >= most) {
      error.textContent = `The map shows at most ${most} texts.`;
      return rows().at(-1);
    }
    const field = el("input", { type: "text", value: text, autocomplete: "off", spellcheck: false });
    const row = el("li", {}, field, el("button", { type: "button", className: "remove", onclick: () => remove(row) }, "×"));
    if (after) after.after(row);
    else list.append(row);
    number();
    return field;
  }

  function remove(row) {
    const near = row.previousElementSibling ?? row.nextElementSibling;
    if (!near) {
      row.querySelector("input").value = "";
      write();
      return;
    }
    row.remove();
    number();
    near.querySelector("input").focus();
  }

  // number names the rows after one came or went.
  function number() {
    rows().forEach((field, i) => {
      field.setAttribute("aria-label", `Text ${i + 1}`);
      const button = field.nextElementSibling;
      button.setAttribute("aria-label", `Remove text ${i + 1}`);
      button.title = "Remove";
    });
    add.disabled = list.children.length >= most;
    write();
  }

  function fill(texts) {
    list.replaceChildren();
    error.textContent = "";
    return texts.map((t) => insert(t));
  }

  const body = () => {
    const b = { model: model.id, input: rows().map((r) => r.value).filter((t) => t.trim() !== "") };
    if (size.value !== "") b.dimensions = Number(size.value);
    if (prompt.value !== "") b.prompt_name = prompt.value;
    return b;
  };

  // write keeps the command equal to what would be sent. A key stays out of it.
  function write() {
    if (!curl.open) return;
    const quoted = (s) => `'${s.replaceAll("'", `'\\''`)}'`;
    copied.textContent = "";
    command.textContent = [
      `curl ${quoted(api.url("v1/embeddings"))}`,
      "-H 'Content-Type: application/json'",
      ...(api.hasKey() ? ['-H "Authorization: Bearer $API_KEY"'] : []),
      `-d ${quoted(JSON.stringify(body()))}`,
    ].join(" \\\n  ");
  }

  list.addEventListener("keydown", (event) => {
    const row = event.target.closest("li");
    if (event.target.tagName !== "INPUT" || event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) form.requestSubmit();
      else if (row.nextElementSibling) row.nextElementSibling.querySelector("input").focus();
      else insert("", row).focus();
    } else if (event.key === "Backspace" && event.target.value === "" && list.children.length > 1) {
      event.preventDefault();
      remove(row);
    }
  });
  list.addEventListener("paste", (event) => {
    const lines = event.clipboardData.getData("text").split(/\r?\n/).filter((l) => l.trim() !== "");
    if (lines.length < 2) return;
    event.preventDefault();
    let row = event.target.closest("li");
    if (event.target.value === "") event.target.value = lines.shift();
    for (const line of lines) {
      const before = list.children.length;
      const field = insert(line, row);
      if (list.children.length === before) break;
      row = field.closest("li");
    }
    write();
  });
  form.addEventListener("input", write);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return;
    const asked = body();
    for (const r of rows()) r.removeAttribute("aria-invalid");
    error.textContent = "";
    if (asked.input.length === 0) {
      error.textContent = "There is no text to compare.";
      rows()[0].focus();
      return;
    }
    running = new AbortController();
    busy(true);
    try {
      const answer = await api.post("v1/embeddings", asked, running.signal);
      show(asked.input, answer);
    } catch (e) {
      refuse(e);
    } finally {
      running = null;
      busy(false);
    }
  });

  function busy(on) {
    form.setAttribute("aria-busy", String(on));
    go.disabled = on;
    go.textContent = on ? "Comparing" : "Compare";
    stop.hidden = !on;
  }

  function show(texts, { body: answer, took }) {
    drawMap(map, texts, similarities(answer.data.map((d) => d.embedding)));
    const { usage } = answer;
    figures.textContent = [
      plural(texts.length, "text"),
      plural(usage.prompt_tokens, "token"),
      plural(answer.data[0].embedding.length, "dimension"),
      `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`,
      usage.truncated ? `${usage.truncated} cut to the model's length` : "",
    ].filter(Boolean).join(" · ");
    warnings.replaceChildren(...(answer.warnings ?? []).map((w) => el("li", {}, w)));
    if (result.getBoundingClientRect().top > innerHeight / 2) result.scrollIntoView(); // below, on a narrow screen
  }

  // refuse says what went wrong, and where.
  function refuse(e) {
    error.textContent = e.name === "AbortError" ? "Cancelled." : e.message;
    const place = /^input\[(\d+)\]/.exec(e.field ?? "");
    const field = place ? rows().filter((r) => r.value.trim() !== "")[Number(place[1])] : e.field === "dimensions" ? size : null;
    if (!field) return;
    if (field === size) options.open = true;
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }

  drawMap(map, [], []);
  fill(examples[0]);
}

// similarities is the matrix of the cosines between vectors.
export function similarities(vectors) {
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const norms = vectors.map((v) => Math.sqrt(dot(v, v)) || 1);
  return vectors.map((a, i) => vectors.map((b, j) => dot(a, b) / (norms[i] * norms[j])));
}
