// What ipywidgets needs to know in this book; runs between require.js and embed-amd.js.
(() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  requirejs.config({ baseUrl: folder, paths: { anywidget: `${folder}anywidget` } });
  // The theme's icons must be put inside their elements: ipywidgets keeps hold of those.
  window.FontAwesomeConfig = { autoReplaceSvg: "nest" };
  // ipywidgets speaks the language of MathJax 2. On pages with formulas teach it to ours, which at
  // this point is still a configuration.
  const config = window.MathJax;
  if (!config || config.version) return;
  config.Hub = { Queue() {} };
  config.startup = {
    ...config.startup,
    ready() {
      MathJax.startup.defaultReady();
      MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
    },
  };
})();
