// Every widget's `_esm`. The kit comes to a page in a model of its own, the widget's own files in
// the trait `_files`, both packed. loader.js, the kit's first file, does the rest.

const page = (globalThis[Symbol.for("diffusion-lessons")] ??= {});
page.brought ??= new Map(); // promises, by what they were packed into: { files, loader }

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const [[name, text], ...others] = await new Response(plain).json();
  if (name !== "loader.js") return { files: [[name, text], ...others] };
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  return { files: others, loader: await import(address) };
}

function bring(model) {
  const packed = model.get("_files");
  if (!page.brought.has(packed)) page.brought.set(packed, unpack(packed));
  return page.brought.get(packed);
}

// The view, or words in its place: a widget that cannot start says so.
async function render(context, things) {
  const { model, el } = context;
  let say = () => "A part of this widget is missing on this page. Run its cell again.";
  try {
    const id = model.get("_kit").replace("IPY_MODEL_", "");
    const kitModel = await model.widget_manager.get_model(id);
    say = ({ message }) => `This widget cannot start here (${message}).`;
    const [kit, own] = [await bring(kitModel), await bring(model)];
    return await kit.loader.render(context, things, kit.files, own.files);
  } catch (error) {
    console.error(error);
    el.textContent = say(error);
  }
}

// anywidget asks once for each model.
export default () => {
  const things = new Map();
  return { render: (context) => render(context, things) };
};
