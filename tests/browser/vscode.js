// The page's side of VS Code's Jupyter extension: its widget manager, given what the extension gives
// it. The other end of the kernel is the test: `toKernel` hands it a widget's message and returns
// the messages that come back, null if nobody is there.

import { activate } from "./ipywidgets.js";

activate();
window.vscIPyWidgets8.load();

const STATE = "application/vnd.jupyter.widget-state+json";
const signal = { connect() {}, disconnect() {} };
const fromBase64 = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const comms = new Map(); // by the model's id
let count = 0;
let opened; // what the manager does when the kernel opens a comm

function message(type, commId, data, buffers = [], parent = {}, metadata = {}) {
  return {
    channel: "iopub",
    header: { msg_type: type, msg_id: `${++count}` },
    parent_header: parent,
    metadata,
    content: { comm_id: commId, target_name: "jupyter.widget", data },
    buffers: buffers.map(fromBase64),
  };
}

// What the kernel sends, on its own or after a message of the page's.
window.hear = (sent, parent = {}) => {
  for (const [id, data, buffers] of sent) {
    comms.get(id).onMsg(message("comm_msg", id, data, buffers, parent));
  }
};

function commOf(commId) {
  const comm = {
    commId,
    targetName: "jupyter.widget",
    onMsg() {},
    close() {},
    dispose() {},
    send(data) {
      const header = { msg_id: `${++count}` };
      const future = { msg: { header } };
      window.toKernel(commId, data).then((answers) => {
        if (!answers) return;
        window.hear(answers, header);
        const idle = { header: { msg_type: "status" }, content: { execution_state: "idle" } };
        future.onIOPub?.(idle);
      });
      return future;
    },
  };
  comms.set(commId, comm);
  return comm;
}

const kernelOf = (id) => ({
  ...{ id, name: id, username: id, clientId: id, model: { id, name: id } },
  ...{ handleComms: true, isDisposed: false, status: "idle", connectionStatus: "connected" },
  ...{ disposed: signal, iopubMessage: signal, unhandledMessage: signal },
  ...{ statusChanged: signal, connectionStatusChanged: signal },
  registerCommTarget: (_, callback) => (opened = callback),
  removeCommTarget() {},
  createComm: (_, commId) => commOf(commId),
  requestCommInfo: async () => ({ content: { comms: {} } }),
});

// Where the extension found a widget's script it tells RequireJS.
const scriptLoader = {
  widgetsRegisteredInRequireJs: new Set(),
  async loadWidgetScript(name) {
    window.requirejs.config({ paths: { [name]: `/${name}` } });
  },
  successHandler() {},
  errorHandler: (...failed) => console.error(...failed),
};

// A cell has just been run: the kernel opens the models.
async function open(states, shown) {
  const others = Object.keys(states).filter((id) => !shown.includes(id));
  for (const id of [...others, ...shown]) {
    const { state, buffers = [] } = states[id];
    const data = { state, buffer_paths: buffers.map(({ path }) => path) };
    const texts = buffers.map(({ data: text }) => text);
    await opened(commOf(id), message("comm_open", id, data, texts, {}, { version: "2.1.0" }));
  }
}

// Widgets of a kernel (`live`), or from what a notebook that was opened has stored.
window.show = async ({ saved, shown, live }) => {
  const { WidgetManager } = window.vscIPyWidgets;
  const kernel = kernelOf(live ? "python" : "");
  const log = () => {};
  const notebook = { metadata: { get: () => ({ [STATE]: saved }) } };
  const manager = new WidgetManager(kernel, undefined, scriptLoader, log, live ? undefined : saved);
  if (live) await open(saved.state, shown);
  else await manager.restoreWidgets(notebook, { loadKernel: false, loadNotebook: true });
  for (const id of shown) {
    const cell = document.createElement("div");
    cell.innerHTML = `<div class="output cell-output-ipywidget-background"><div tabindex="0"
      class="cell-output-ipywidget-background" role="region" aria-label="Interactive widget output">
      <div class="cell-output cell-output"></div></div></div>`;
    document.getElementById("container").append(cell);
    const node = cell.querySelector("[role=region]");
    const model = await manager.get_model(id);
    if (!live) model.comm_live = false;
    const view = await manager.create_view(model, { el: node });
    if (!live) view.initialize({ model, el: node, options: {} });
    await manager.display_view({}, view, { node });
  }
};
