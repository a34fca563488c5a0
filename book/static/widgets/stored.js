// Says under each stored picture why its widget does not run here. The first script of a page with
// widgets, so that it hears what becomes of the others.
(() => {
  let reason = null; // the first that is heard of
  const write = () => {
    for (const place of document.querySelectorAll(".dl-why")) {
      place.textContent = `: ${reason}.`;
      place.parentElement.classList.add("dl-known");
    }
  };
  function say(words) {
    if (reason !== null) return;
    reason = words;
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", write);
    else write();
  }
  const onError = ({ target }) => {
    const path = target instanceof HTMLScriptElement ? target.src.split("?")[0] : "";
    if (path.includes("/_static/widgets/")) say(`the script ${path.split("/").at(-1)} did not load`);
  };
  window.addEventListener("error", onError, true);
  document.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => {
    if (!effectiveDirective.startsWith("script-src")) return;
    const needed = { eval: "'unsafe-eval'", blob: "scripts from blob:" }[blockedURI];
    if (needed) say(`the Content-Security-Policy of this site does not allow ${needed}`);
  });
})();
