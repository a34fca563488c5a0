// Widgets in a page that has no kernel: reads the state that Jupyter's notebooks keep, and puts each
// widget where its view stands. Whatever else a notebook has stored, progress bars, is left out.

(() => {
  const STATE = "application/vnd.jupyter.widget-state+json";
  const VIEW = "application/vnd.jupyter.widget-view+json";

  const stored = {}; // by id: the values of a model
  const made = new Map(); // by id: models

  function readStates() {
    for (const script of document.querySelectorAll(`script[type="${STATE}"]`)) {
      for (const [id, { state, buffers }] of Object.entries(JSON.parse(script.textContent).state)) {
        stored[id] = state;
        for (const { path, data } of buffers ?? []) {
          const holder = path.slice(0, -1).reduce((part, key) => part[key], state);
          holder[path.at(-1)] = data; // as base64
        }
      }
    }
  }

  // A model has values and their changes, and nobody who answers.
  function modelOf(id) {
    if (!(id in stored)) throw new Error("a part of it was not saved");
    if (made.has(id)) return made.get(id);
    const state = stored[id];
    const heard = new Map();
    const model = {
      get: (name) => state[name],
      set(name, value) {
        if (state[name] === value) return;
        state[name] = value;
        for (const listener of [...(heard.get(`change:${name}`) ?? [])]) listener();
      },
      on: (name, listener) => heard.set(name, [...(heard.get(name) ?? []), listener]),
      off(name, listener) {
        heard.set(name, (heard.get(name) ?? []).filter((other) => other !== listener));
      },
      save_changes() {},
      send() {},
      widget_manager: { get_model: async (other) => modelOf(other) },
    };
    made.set(id, model);
    return model;
  }

  const widgets = new Map(); // by model: promises of what draws it

  // A script exports a widget, or makes one for each model.
  async function load(text) {
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const { default: widget } = await import(address);
    return typeof widget === "function" ? widget() : widget;
  }

  async function show(script) {
    const { model_id: id } = JSON.parse(script.textContent);
    if (!stored[id]?._esm) return;
    const el = document.createElement("div");
    el.className = "dl-alive";
    script.after(el);
    try {
      const model = modelOf(id);
      if (!widgets.has(model)) widgets.set(model, load(model.get("_esm")));
      await (await widgets.get(model)).render({ model, el });
    } catch (error) {
      console.error(error);
      say(error.message);
    }
  }

  // Under each stored picture stands why it is there: the first reason that is heard of.
  let reason = null;
  function say(words) {
    reason ??= words;
    for (const place of document.querySelectorAll(".dl-why")) {
      place.textContent = `: ${reason}.`;
      place.parentElement.classList.add("dl-known");
    }
  }
  document.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => {
    if (blockedURI === "blob" && effectiveDirective.startsWith("script-src")) {
      say("the Content-Security-Policy of this site does not allow scripts from blob:");
    }
  });

  function begin() {
    readStates();
    for (const script of document.querySelectorAll(`script[type="${VIEW}"]`)) show(script);
  }
  // Beside this script lies, in a book, the folder of the engine's parts.
  const { src } = document.currentScript;
  if (src) document.documentElement.dataset.dlEngine ??= new URL("../engine/", src).href;
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
