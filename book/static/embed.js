// "Copy the embed code", below each widget.
document.addEventListener("click", async ({ target }) => {
  if (!target.matches?.(".dl-embed button")) return;
  const words = target.textContent;
  const { href } = target.parentElement.querySelector("a");
  const code = `<iframe src="${href}" width="100%" height="760" style="border: 0"></iframe>`;
  try {
    await navigator.clipboard.writeText(code);
    target.textContent = "copied";
  } catch {
    prompt("The embed code:", code);
  }
  setTimeout(() => (target.textContent = words), 2000);
});
