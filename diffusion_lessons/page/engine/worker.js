// Runs networks beside the page, in a Worker: ONNX Runtime Web, whose script stands in front of this
// one. Messages come and are answered one after the other.

const sessions = new Map(); // by the network's name

function asTensor({ type, data, dims }) {
  return new ort.Tensor(type, data, dims);
}

const actions = {
  // Once, before all else. The script that loads the WebAssembly is a module of its own.
  async start({ wasm, loader }) {
    ort.env.wasm.numThreads = 1; // more would need headers that few hosts send
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(loader) };
    ort.env.logLevel = "error";
  },
  // A graph, and the weights that it asks for; to run on "wasm" or "webgpu".
  async load({ network, graph, weights, on }) {
    const externalData = weights ? [{ path: "weights", data: weights }] : [];
    const options = { executionProviders: [on], externalData };
    sessions.set(network, await ort.InferenceSession.create(graph, options));
  },
  async run({ network, feeds }) {
    const session = sessions.get(network);
    const given = session.inputNames.map((name) => [name, asTensor(feeds[name])]);
    const answers = await session.run(Object.fromEntries(given));
    return answers[session.outputNames[0]].data;
  },
};

let before = Promise.resolve();

onmessage = ({ data: { id, action, ...given } }) => {
  before = before.then(async () => {
    try {
      const result = await actions[action](given);
      postMessage({ id, result }, result ? [result.buffer] : []);
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
