// A map of similarities: a table whose cells are coloured by their values.
// Arrow keys move between cells; the row and the column of the cell under the
// pointer or the focus are marked, and its two texts are shown below.
import { el } from "../dom.js";

// Colours from far to near, light and dark, as red, green, blue.
const ramps = {
  light: [[243, 246, 255], [168, 190, 250], [66, 98, 220], [24, 34, 104]],
  dark: [[27, 34, 56], [46, 66, 142], [96, 134, 242], [214, 226, 255]],
};
const dark = matchMedia("(prefers-color-scheme: dark)");

// colour is the ramp at t, from 0 to 1, and the one of black and white that is
// the more readable on it (WCAG 2.2, relative luminance).
function colour(t) {
  const ramp = dark.matches ? ramps.dark : ramps.light;
  const x = Math.min(Math.max(t, 0), 1) * (ramp.length - 1);
  const i = Math.min(Math.floor(x), ramp.length - 2);
  const rgb = ramp[i].map((c, k) => Math.round(c + (ramp[i + 1][k] - c) * (x - i)));
  const [r, g, b] = rgb.map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { back: `rgb(${rgb.join(" ")})`, text: light > 0.179 ? "#000" : "#fff" };
}

// drawMap fills root with the map of values, an N x N matrix of cosines.
export function drawMap(root, texts, values) {
  if (texts.length === 0) {
    root.replaceChildren(el("p", { className: "empty" }, "Compare some texts, and the map of their meanings appears here."));
    return;
  }
  const n = texts.length;
  // Many models put all texts close together, so the colours begin at the
  // lowest value that is there; the legend says which that is.
  const low = n > 1 ? Math.min(...values.flatMap((row, i) => row.filter((_, j) => j !== i))) : 0;
  const scale = (v) => (low < 1 ? (v - low) / (1 - low) : 1);
  const word = (v) => (Math.abs(v) < 0.005 ? "0.00" : v.toFixed(2).replace("-", "\u2212"));

  const cells = values.map((row) => row.map((v) => el("td", { tabIndex: -1 }, word(v))));
  const columns = texts.map((t, j) => el("th", { scope: "col", title: t }, String(j + 1)));
  const names = texts.map((t, i) => el("th", { scope: "row", title: t }, el("b", {}, String(i + 1)), el("span", {}, t)));
  const table = el("table", { role: "grid", "aria-label": "Cosine similarity of each pair of texts", className: n > 10 ? "dense" : "" },
    el("thead", {}, el("tr", {}, el("td", { className: "corner" }), ...columns)),
    el("tbody", {}, ...cells.map((row, i) => el("tr", {}, names[i], ...row))));
  const about = el("div", { className: "about" });
  const from = el("span", {}, word(low));
  const strip = el("span", { className: "strip" });
  const legend = el("p", { className: "legend", "aria-hidden": "true" }, from, strip, el("span", {}, "1.00"));

  function paint() {
    cells.forEach((row, i) => row.forEach((cell, j) => {
      const c = colour(scale(values[i][j]));
      cell.style.background = c.back;
      cell.style.color = c.text;
    }));
    strip.style.background = `linear-gradient(90deg, ${[0, 0.33, 0.67, 1].map((t) => colour(t).back).join(", ")})`;
  }

  let marked = [];
  function mark(i, j) {
    for (const e of marked) e.classList.remove("on");
    marked = [names[i], columns[j], cells[i][j]];
    for (const e of marked) e.classList.add("on");
    about.replaceChildren(
      el("b", {}, word(values[i][j])),
      el("p", {}, texts[i]),
      ...(i === j ? [el("p", { className: "hint" }, "A text is as close to itself as can be.")] : [el("p", {}, texts[j])]));
  }

  const where = (cell) => {
    const i = cells.findIndex((row) => row.includes(cell));
    return i < 0 ? null : [i, cells[i].indexOf(cell)];
  };
  const follow = (event) => {
    const p = where(event.target.closest("td"));
    if (p) mark(...p);
  };
  table.addEventListener("pointerover", follow);
  table.addEventListener("focusin", follow);
  let home = cells[0][Math.min(1, n - 1)];
  home.tabIndex = 0;
  table.addEventListener("keydown", (event) => {
    const p = where(event.target);
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -n], End: [0, n] };
    if (!p || !Object.hasOwn(steps, event.key)) return;
    event.preventDefault();
    const [di, dj] = steps[event.key];
    const clamp = (x) => Math.min(Math.max(x, 0), n - 1);
    home.tabIndex = -1;
    home = cells[clamp(p[0] + di)][clamp(p[1] + dj)];
    home.tabIndex = 0;
    home.focus();
  });

  dark.onchange = paint;
  paint();
  root.replaceChildren(el("div", { className: "scroll" }, table), legend, about);
  const best = nearest(values);
  mark(...best);
}

// nearest is the closest pair of different texts.
function nearest(values) {
  let best = [0, 0];
  let top = -Infinity;
  values.forEach((row, i) => row.forEach((v, j) => {
    if (j > i && v > top) {
      top = v;
      best = [i, j];
    }
  }));
  return best;
}
