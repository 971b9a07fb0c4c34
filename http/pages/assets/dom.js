// el makes an element. Properties are set as such, except for data, aria and
// attributes with a dash; children are elements or texts. Nothing here reads a
// text as HTML.
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for") e.setAttribute(key, value);
    else e[key] = value;
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

// plural puts a number and its noun together.
export const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// seconds words a time as people say it.
export function seconds(s) {
  if (s < 1) return "less than a second";
  if (s < 90) return plural(Math.round(s), "second");
  if (s < 5400) return plural(Math.round(s / 60), "minute");
  return plural(Math.round(s / 3600), "hour");
}

// bytes words a size.
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return `${i > 0 && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

// copy puts a text on the clipboard, also where the page came by plain HTTP and
// browsers offer no clipboard: then by way of a selection, from element.
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
