// A widget alone in a page: its model has values and their changes, and nobody who answers.

const { shown, models } = JSON.parse(document.getElementById("models").textContent);
const made = new Map();

function modelOf(id) {
  if (made.has(id)) return made.get(id);
  const state = models[id];
  const heard = new Map();
  const hear = (name, ...given) => [...(heard.get(name) ?? [])].forEach((listener) => listener(...given));
  const model = {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      hear(`change:${name}`);
    },
    on(name, listener) {
      heard.set(name, [...(heard.get(name) ?? []), listener]);
    },
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

const model = modelOf(shown);
const script = new Blob([model.get("_esm")], { type: "text/javascript" });
const el = document.querySelector("main");
import(URL.createObjectURL(script))
  .then(({ default: widget }) => widget.render({ model, el }))
  .then(() => document.getElementById("stored")?.remove())
  .catch((error) => {
    console.error(error);
    document.getElementById("why").textContent = `The picture below is a stored one: this page may not start its scripts (${error.message}).`;
  });
