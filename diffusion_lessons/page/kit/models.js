// What belongs to a model: each of its views finds the same, however many there are.

const page = (globalThis[Symbol.for("diffusion-lessons")] ??= {});
// anywidget gives each view a model object of its own; the loader says which of them are one model.
const kept = (page.kept ??= new WeakMap());

// What `make` made under this name for the model's first view.
export function ofModel(model, name, make) {
  if (!kept.has(model)) kept.set(model, new Map());
  const things = kept.get(model);
  if (!things.has(name)) things.set(name, make());
  return things.get(name);
}
