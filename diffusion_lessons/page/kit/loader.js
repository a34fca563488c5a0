// Brings the kit's files and a widget's own into the page, and lets the widget draw itself; start.js
// calls it.
//
// Modules become blobs, in which what they import is named by its address. A page keeps each text
// once, whichever and however many widgets bring it; another version of the kit is another text, and
// the two stand beside each other.

const page = (globalThis[Symbol.for("diffusion-lessons")] ??= {});
page.addresses ??= new Map(); // of modules, by text
page.styles ??= new Map(); // elements, by text
page.kept ??= new WeakMap(); // what belongs to a model, by the object that a view has of it

const asModule = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));

function addressOf(text) {
  if (!page.addresses.has(text)) page.addresses.set(text, asModule(text));
  return page.addresses.get(text);
}

// Makes modules of [name, text] pairs, each after those that it imports; `addresses` says where
// modules are, by the names under which they are imported. Returns the last one's address.
function link(files, addresses, addressOf) {
  const imports = /^((?:import|export|\}).* from )"(.+)";$/gm;
  let last;
  for (const [name, text] of files) {
    const linked = text.replace(imports, (_, start, other) => `${start}"${addresses[other] ?? other}";`);
    last = addresses[`./${name}`] = addressOf(`${linked}\n//# sourceURL=diffusion-lessons/${name}`);
  }
  return last;
}

const isScript = ([name]) => name.endsWith(".js");

// The kit's styles before those of any widget, which may overrule them.
function addStyle(text, owner) {
  const style = page.styles.get(text) ?? document.createElement("style");
  page.styles.set(text, style);
  style.textContent = text;
  style.dataset.dl = owner;
  if (style.isConnected) return;
  const next = owner === "kit" ? document.head.querySelector("style[data-dl=widget]") : null;
  document.head.insertBefore(style, next);
}

// Brings scripts and styles into the page. Returns the last script's address.
function bring(owner, files, addresses = {}) {
  for (const [name, text] of files) if (name.endsWith(".css")) addStyle(text, owner);
  return link(files.filter(isScript), addresses, addressOf);
}

// Starts a Worker that runs `work()` of one of the widget's scripts. It makes modules of its own, for
// on a page from a folder those of the page are closed to it. Its first message is { ready } when it
// listens, or { error }.
function startWorker(kit, files, name) {
  const worker = new Worker(
    asModule(`const asModule = ${asModule};
      const link = ${link};
      onmessage = async ({ data: [kit, files] }) => {
        try {
          const { work } = await import(link(files, { kit: link(kit, {}, asModule) }, asModule));
          work();
        } catch (error) {
          postMessage({ error: String(error.message) });
        }
      };`),
  );
  const last = files.findIndex(([file]) => file === name);
  worker.postMessage([kit.filter(isScript), files.slice(0, last + 1).filter(isScript)]);
  return worker;
}

// The view. `things` stays with the model, whichever of its views asks.
export async function render(context, things, kit, files) {
  page.kept.set(context.model, things);
  const address = bring("widget", files, { kit: bring("kit", kit) });
  const { default: widget } = await import(address);
  return widget.render({ ...context, startWorker: (name) => startWorker(kit, files, name) });
}
