// Opens pages in Firefox: node firefox.mjs '{"puppeteer": ..., "firefox": ..., "pages": [...], "lab": ...}'
// Prints what it found as JSON.

const given = JSON.parse(process.argv[2]);
const { default: puppeteer } = await import(given.puppeteer);
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: given.firefox,
  headless: true,
});
const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
await page.setViewport({ width: 1240, height: 1000 });

const found = {};
for (const address of given.pages) {
  await page.goto(address, { waitUntil: "load" });
  const alive = () =>
    [...document.querySelectorAll(".dl-place")].every((place) => {
      const widget = place.querySelector(".dl-widget");
      const canvases = [...(widget?.querySelectorAll("canvas") ?? [])];
      return widget?.childElementCount && (!canvases.length || canvases.some((c) => c.width !== 300));
    });
  const whole = await page.waitForFunction(alive, { timeout: 30_000 }).then(
    () => true,
    () => false,
  );
  const count = await page.evaluate(() => document.querySelectorAll(".dl-place").length);
  found[address] = { whole, count };
}

await page.goto(given.lab, { waitUntil: "load" });
await page.waitForSelector(".dl-widget[data-ready=true]");
const look = () => {
  const root = document.querySelector(".dl-widget");
  const canvas = root.querySelector('canvas[data-part="x-0"]');
  const unit = canvas.height / 28;
  const grey = (i) =>
    canvas
      .getContext("2d")
      .getImageData(((i % 28) + 0.5) * unit, (Math.floor(i / 28) + 0.5) * unit, 1, 1).data[0];
  return { calls: root.dataset.calls, greys: Array.from({ length: 784 }, (_, i) => grey(i)) };
};
await page.click('[data-action="run"]');
await page.waitForSelector('.dl-widget[data-engine="ready"]', { timeout: 90_000 });
const lab = await page.evaluate(look);
// Another network, which comes only now.
await page.evaluate(() => document.querySelector('[data-name="task-draw"]').click());
await page.select('[data-name="network"]', "digits-consistency");
await page.waitForSelector('.dl-widget[data-engine="ready"][data-calls="2"]', { timeout: 90_000 });
await page.waitForFunction(() => document.querySelector('[data-part="note"]').textContent.includes("digits-consistency ("));
const few = await page.evaluate(look);
await browser.close();
console.log(JSON.stringify({ found, lab, few, problems }));
