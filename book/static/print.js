// Paper is white: a dark page is printed in the light theme.
(() => {
  const page = document.documentElement;
  const paper = matchMedia("print");
  let before = null; // the theme on the screen
  function toPaper(begins) {
    if (begins && before === null) {
      before = page.dataset.theme ?? "";
      page.dataset.theme = "light";
    } else if (!begins && before !== null) {
      page.dataset.theme = before;
      before = null;
    }
  }
  addEventListener("beforeprint", () => toPaper(true));
  addEventListener("afterprint", () => toPaper(false));
  paper.addEventListener("change", () => toPaper(paper.matches));
})();
