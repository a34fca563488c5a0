// The frame of a widget: its root, its theme and size, when it is painted, and how it ends.

import { h } from "./elements.js";

const COLOURS = ["paper", "ink", "soft", "line", "signal", "noise", "result"];

// A published page has nobody to tell.
function save(model) {
  try {
    model.save_changes();
  } catch {
    /* the value is set here all the same */
  }
}

function isDark(element) {
  const { body, documentElement: page } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false"; // JupyterLab
  if (body.dataset.vscodeThemeKind) return /dark|high-contrast$/.test(body.dataset.vscodeThemeKind);
  const theme = page.dataset.theme ?? page.getAttribute("theme"); // the book; Colab
  if (theme === "dark" || theme === "light") return theme === "dark";
  for (let node = element.parentElement; node; node = node.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(node).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (a > 0.5 && r !== undefined) return 0.3 * r + 0.6 * g + 0.1 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Colours and font as the page's theme has them now.
function readTheme(root) {
  root.dataset.dlTheme = isDark(root) ? "dark" : "light";
  const style = getComputedStyle(root);
  const values = COLOURS.map((name) => [name, style.getPropertyValue(`--dl-${name}`).trim()]);
  return { font: style.fontFamily, ...Object.fromEntries(values) };
}

// Whether a canvas has as many pixels as it takes on the screen.
function fits(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const sides = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
  return sides[0] === canvas.width && sides[1] === canvas.height;
}

// Hear of every change of the page that may be one of its theme, and of the root's size. Returns
// what ends that.
function observe(root, { onTheme, onSize }) {
  const size = new ResizeObserver(onSize);
  const attributes = new MutationObserver(onTheme);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  for (const node of [document.documentElement, document.body]) {
    attributes.observe(node, { attributes: true });
  }
  // JupyterLab loads its theme's style sheet after it has changed the attribute.
  document.addEventListener("load", onTheme, true);
  scheme.addEventListener("change", onTheme);
  return () => {
    for (const observer of [size, attributes]) observer.disconnect();
    document.removeEventListener("load", onTheme, true);
    scheme.removeEventListener("change", onTheme);
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
  return { repaint, cancel: () => cancelAnimationFrame(queued) };
}

// The root element, one repaint a frame at most, and everything that must end with the view.
// `paint(colours)` reads the model and brings the whole view up to date; `watch` names the traits
// that it shows.
export function stage({ model, el, label, watch, paint }) {
  const root = h("div", { class: "dl-widget", role: "group", "aria-label": label });
  const colours = {};
  const { repaint, cancel } = painter(root, () => paint(colours));
  function themeChanged() {
    const theme = readTheme(root);
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
  });
  // JupyterLab's notebook has one-letter commands; a key meant for a control is not one of them.
  root.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
    if (!command) event.stopPropagation();
  });
  for (const name of watch) model.on(`change:${name}`, repaint);
  el.append(root);
  const endings = [];
  return {
    root,
    repaint,
    get: (name) => model.get(name),
    // `quietly` changes this page alone, without telling Python.
    set(values, { quietly = false } = {}) {
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      if (!quietly) save(model);
    },
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
