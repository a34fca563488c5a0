// Elements of the page, and what is written and said in them.

// An element. Attributes that are true have no value, those that are false or null are left out,
// those that begin with "on" are listeners; a child may be null.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// "alpha_t" style subscripts, `x_t` or `x_{t-1}`, cut into [text, is it a subscript] pieces.
export function pieces(text) {
  return text
    .split(/(_\{[^}]*\}|_[\p{L}\p{N}])/u)
    .filter(Boolean)
    .map((piece) => (piece[0] === "_" ? [piece.slice(1).replace(/[{}]/g, ""), true] : [piece, false]));
}

// A formula as page text.
export function math(text) {
  const parts = pieces(text).map(([part, low]) => (low ? h("sub", {}, part) : part));
  return h("span", { class: "dl-math" }, ...parts);
}

// Put new text or elements into an element, but only if `version` is another than before: screen
// readers listen.
export function fill(element, version, ...children) {
  if (element.dlVersion === version) return;
  element.dlVersion = version;
  element.replaceChildren(...children);
}

// What a screen reader says of an element.
export function describe(element, text) {
  if (element.getAttribute("aria-label") !== text) element.setAttribute("aria-label", text);
}

let idCount = 0;
export const newId = () => `dl-${Date.now().toString(36)}-${idCount++}`;

// A word in the colour of what it names; `line`, dl-solid or dl-dashed or dl-dotted, underlines it.
export const key = (colour, text, line = "") =>
  h("span", { class: `dl-key dl-${colour} ${line}` }, text);

// A small drawing in the colour of the text beside it, from the path of an SVG of 12 by 12.
export function icon(path) {
  const [svg, shape] = ["svg", "path"].map((tag) =>
    document.createElementNS("http://www.w3.org/2000/svg", tag),
  );
  svg.setAttribute("class", "dl-icon");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}
