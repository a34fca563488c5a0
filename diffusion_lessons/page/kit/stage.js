// The frame of a widget: its root, its theme and size, when it is painted, and how it ends.

import { h } from "./elements.js";
import { ofModel } from "./models.js";

// What frame.css names: without a meaning, with one, of the ten classes, and on pictures, which are
// black in either theme.
const COLOURS = [
  ...["paper", "ink", "soft", "line"],
  ...["signal", "noise", "result", "data", "class"],
  ...Array.from({ length: 10 }, (_, k) => `class-${k}`),
  ...["signal-on-black", "noise-on-black", "result-on-black"],
];

// A published page has nobody to tell.
function save(model) {
  try {
    model.save_changes();
  } catch {
    /* the value is set here all the same */
  }
}

const forced = () => matchMedia("(forced-colors: active)");

// A colour by its numbers, where it may be the name of one of the reader's own.
function resolved(element, colour) {
  const probe = h("span", { style: `forced-color-adjust: none; color: ${colour}` });
  element.append(probe);
  const numbers = getComputedStyle(probe).color;
  probe.remove();
  return numbers;
}

const isDarkColour = (colour) => {
  const [r, g, b, a = 1] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  return r === undefined || a <= 0.5 ? null : 0.3 * r + 0.6 * g + 0.1 * b < 128;
};

function isDark(element) {
  const { body, documentElement: page } = document;
  if (forced().matches) return isDarkColour(resolved(element, "Canvas"));
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false"; // JupyterLab
  if (body.dataset.vscodeThemeKind) return /dark|high-contrast$/.test(body.dataset.vscodeThemeKind);
  const theme = page.dataset.theme ?? page.getAttribute("theme"); // the book; Colab
  if (theme === "dark" || theme === "light") return theme === "dark";
  for (let node = element.parentElement; node; node = node.parentElement) {
    const dark = isDarkColour(getComputedStyle(node).backgroundColor);
    if (dark !== null) return dark;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Colours and font as the page's theme has them now. Paper is white, whatever the screen is.
function readTheme(root, printing) {
  root.dataset.dlTheme = printing ? "print" : isDark(root) ? "dark" : "light";
  const style = getComputedStyle(root);
  const plain = (colour) => (forced().matches ? resolved(root, colour) : colour);
  const values = COLOURS.map((name) => [name, plain(style.getPropertyValue(`--dl-${name}`).trim())]);
  return { font: style.fontFamily, ...Object.fromEntries(values) };
}

// Whether a canvas has as many pixels as it takes on the screen.
function fits(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const sides = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
  return sides[0] === canvas.width && sides[1] === canvas.height;
}

// Hear of every change of the page that may be one of its theme, of the root's size, and of its way
// to paper and back. Returns what ends that.
function observe(root, { onTheme, onSize, onPrint }) {
  const size = new ResizeObserver(onSize);
  const attributes = new MutationObserver(onTheme);
  const schemes = [matchMedia("(prefers-color-scheme: dark)"), forced()];
  const paper = matchMedia("print");
  const printed = [
    [window, "beforeprint", () => onPrint(true)],
    [window, "afterprint", () => onPrint(false)],
    [paper, "change", () => onPrint(paper.matches)],
  ];
  for (const [target, event, listener] of printed) target.addEventListener(event, listener);
  size.observe(root);
  for (const node of [document.documentElement, document.body]) {
    attributes.observe(node, { attributes: true });
  }
  // JupyterLab loads its theme's style sheet after it has changed the attribute.
  document.addEventListener("load", onTheme, true);
  for (const scheme of schemes) scheme.addEventListener("change", onTheme);
  return () => {
    for (const observer of [size, attributes]) observer.disconnect();
    document.removeEventListener("load", onTheme, true);
    for (const scheme of schemes) scheme.removeEventListener("change", onTheme);
    for (const [target, event, listener] of printed) target.removeEventListener(event, listener);
  };
}

// Paints at most once a frame.
function painter(root, paint) {
  let queued = 0;
  let tries = 0;
  function repaint() {
    queued ||= requestAnimationFrame(() => {
      queued = 0;
      // A hidden view has no size to paint. The resize observer calls when it gets one, but misses
      // what is hidden and shown again within a frame, as JupyterLab does when its theme changes.
      if (root.clientWidth) {
        tries = 0;
        paint();
      } else if (tries++ < 10) repaint();
    });
  }
  return {
    repaint,
    // For what does not wait for the next frame.
    now: () => root.clientWidth && paint(),
    cancel: () => cancelAnimationFrame(queued),
  };
}

// The root element, one repaint a frame at most, and everything that must end with the view.
// `paint(colours)` reads the model and brings the whole view up to date; `watch` names the traits
// that it shows.
export function stage({ model, el, label, watch, paint }) {
  const root = h("div", { class: "dl-widget", role: "group", "aria-label": label });
  const colours = {};
  const { repaint, now, cancel } = painter(root, () => paint(colours));
  let printing = false;
  function themeChanged() {
    const theme = readTheme(root, printing);
    const changed = Object.keys(theme).some((name) => theme[name] !== colours[name]);
    Object.assign(colours, theme);
    return changed;
  }
  const unobserve = observe(root, {
    // Pages change their attributes for many reasons; only another look is worth a repaint.
    onTheme() {
      if (themeChanged()) repaint();
    },
    // A drag may change how many lines a text has, and so the height; that is no reason to paint
    // twice.
    onSize() {
      if (themeChanged() || ![...root.querySelectorAll("canvas")].every(fits)) repaint();
    },
    onPrint(begins) {
      printing = begins;
      themeChanged();
      now();
    },
  });
  // JupyterLab's notebook has one-letter commands; a key meant for a control is not one of them.
  root.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
    if (!command) event.stopPropagation();
  });
  for (const name of watch) model.on(`change:${name}`, repaint);
  el.append(root);
  // `quietly` changes this page alone, without telling Python.
  function set(values, { quietly = false } = {}) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    if (!quietly) save(model);
  }
  const endings = [];
  return {
    root,
    repaint,
    get: (name) => model.get(name),
    ofModel: (name, make) => ofModel(model, name, make),
    set,
    // For `pointing`: the values of these traits, kept and put back.
    keeping: (...names) => ({
      save: () => Object.fromEntries(names.map((name) => [name, model.get(name)])),
      restore: set,
    }),
    atEnd: (ending) => endings.push(ending),
    end() {
      for (const ending of endings) ending();
      cancel();
      unobserve();
      for (const name of watch) model.off(`change:${name}`, repaint);
      root.remove();
    },
  };
}
