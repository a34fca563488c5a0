// FinalTest in the page.

import { button, clamp, describe, fill, h, newId, pieces, short, stage, uniforms } from "kit";

// A number as people write it: a comma or a point, a minus of either kind.
function readNumber(text) {
  const plain = text.trim().replaceAll("\u2212", "-").replace(",", ".");
  return plain === "" ? NaN : Number(plain);
}

// Two decimals, or one percent of a large number.
const isRight = (given, answer) => Math.abs(given - answer) <= Math.max(0.0055, 0.01 * Math.abs(answer));

// A shuffle that the same seed repeats.
function shuffled(list, seed) {
  const uniform = uniforms(seed);
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

// Lessons lie beside this page: as .html in the book, as .ipynb in JupyterLab.
function lessonLink(lesson) {
  const ending = location.pathname.endsWith(".html") ? ".html" : ".ipynb";
  const [number] = lesson.split("_");
  return h("a", { href: `${lesson}${ending}`, target: "_blank" }, `lesson ${number}`);
}

const pointsOf = (item) => item.pairs?.length ?? 1;

// Text with q(x_t | x_{t-1}) style subscripts.
const sentence = (text) => pieces(text).map(([part, low]) => (low ? h("sub", {}, part) : part));

function render({ model, el }) {
  const items = model.get("_items");
  const most = items.reduce((sum, item) => sum + pointsOf(item), 0);
  const view = stage({ model, el, label: "Final test", watch: ["item", "answers"], paint });
  const answers = () => model.get("answers");
  const go = (item) => view.set({ item });

  // What the answer is worth; the first one counts.
  function record(item, points) {
    const first = answers()[item.id]?.first ?? points;
    view.set({ answers: { ...answers(), [item.id]: { first, now: points } } });
  }

  function feedback() {
    return h("div", { class: "dl-note", role: "status", hidden: true });
  }
  function showVerdict(place, right, ...words) {
    place.hidden = false;
    place.replaceChildren(
      h("strong", { class: right ? "dl-result" : "dl-noise" }, right ? "Right. " : "Not yet. "),
      ...words,
    );
  }
  const because = (item) => [
    "Because: ",
    ...sentence(item.reason),
    " See ",
    lessonLink(item.lesson),
    ".",
  ];

  // One radio button for each option; what `value()` gives is -1 while none is chosen.
  function radios(label, options, look, says = []) {
    const name = newId();
    const inputs = options.map((_, i) =>
      h("input", { type: "radio", name, value: i, "aria-label": says[i] }),
    );
    const list = h("div", { class: look, role: "radiogroup", "aria-label": label });
    list.append(...options.map((option, i) => h("label", {}, inputs[i], option)));
    return { element: list, value: () => inputs.findIndex((input) => input.checked) };
  }

  // Each kind of item: its elements; they are built once and keep what was filled in.
  const kinds = {
    match(item) {
      const seed = Math.floor(Math.random() * 2 ** 31);
      const order = shuffled(item.pairs.map((_, i) => i), seed);
      const verdict = feedback();
      const rows = item.pairs.map(({ formula }, i) => {
        const id = newId();
        const choice = h("select", { id, "data-name": `match-${i}` }, h("option", { value: -1 }, "choose"));
        for (const k of order) choice.append(h("option", { value: k }, item.pairs[k].meaning));
        const comment = h("p", { class: "dl-soft", hidden: true });
        const words = h("label", { for: id, class: "dl-formula" }, ...sentence(formula));
        return { choice, comment, element: h("div", { class: "dl-match" }, words, choice, comment) };
      });
      const check = button("Check", () => {
        let right = 0;
        rows.forEach(({ choice, comment }, i) => {
          const good = Number(choice.value) === i;
          right += good;
          const { reason, lesson } = item.pairs[i];
          comment.hidden = false;
          comment.replaceChildren(
            h("strong", { class: good ? "dl-result" : "dl-noise" }, good ? "Right: " : "Not yet. "),
            ...(good ? sentence(reason) : ["Look it up in ", lessonLink(lesson), "."]),
          );
        });
        showVerdict(verdict, right === rows.length, `${right} of ${rows.length} formulas are matched.`);
        record(item, right);
      });
      return [...rows.map(({ element }) => element), h("div", { class: "dl-row" }, check), verdict];
    },

    number(item) {
      let drawn = Math.floor(Math.random() * item.variants.length);
      const id = newId();
      const text = h("label", { for: id });
      const input = h("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", "data-name": "number" });
      const verdict = feedback();
      const show = () => {
        text.replaceChildren(...sentence(item.variants[drawn].text));
        input.value = "";
        verdict.hidden = true;
      };
      const check = () => {
        const given = readNumber(input.value);
        if (!Number.isFinite(given)) return showVerdict(verdict, false, "A number is wanted; two decimals are enough.");
        const { answer } = item.variants[drawn];
        const right = isRight(given, answer);
        showVerdict(verdict, right, right ? "" : `It is ${short(answer)}. `, ...because(item));
        record(item, Number(right));
      };
      input.addEventListener("keydown", (event) => event.key === "Enter" && check());
      // Two sets of numbers may have been drawn alike.
      const others = () => item.variants.flatMap(({ text }, i) => (text === item.variants[drawn].text ? [] : [i]));
      const anew = button("Other numbers", () => {
        const choices = others();
        drawn = choices[Math.floor(Math.random() * choices.length)];
        show();
      });
      show();
      const row = h("div", { class: "dl-row" }, input, button("Check", check), others().length > 0 ? anew : null);
      return [h("p", { class: "dl-question" }, text), row, verdict];
    },

    bug(item) {
      const verdict = feedback();
      const lines = item.lines.map((line, i) => [
        h("span", { class: "dl-soft", "aria-hidden": "true" }, String(i + 1)),
        h("code", {}, line),
      ]);
      const options = radios("the faulty line", lines.map((parts) => h("span", {}, ...parts)), "dl-code");
      const check = button("Check", () => {
        const given = options.value();
        if (given < 0) return showVerdict(verdict, false, "Choose a line first.");
        const right = given === item.right;
        showVerdict(verdict, right, ...(right ? because(item) : ["Look at the picture again: what does this line make of it?"]));
        record(item, Number(right));
      });
      const shown = h("img", { src: `data:image/png;base64,${item.picture}`, alt: item.alt });
      return [
        h("p", { class: "dl-question" }, item.question),
        h("div", { class: "dl-sides" }, options.element, h("div", { class: "dl-card" }, shown)),
        h("div", { class: "dl-row" }, check),
        verdict,
      ];
    },

    plot(item) {
      const verdict = feedback();
      const options = radios(
        "plots",
        item.pictures.map((png) => h("img", { src: `data:image/png;base64,${png}`, alt: "" })),
        "dl-options",
        item.alts.map((alt, i) => `plot ${i + 1}: ${alt}`),
      );
      const check = button("Check", () => {
        const given = options.value();
        if (given < 0) return showVerdict(verdict, false, "Choose a plot first.");
        const right = given === item.right;
        const words = right ? because(item) : ["Think of ", lessonLink(item.lesson), " and try again."];
        showVerdict(verdict, right, ...words);
        record(item, Number(right));
      });
      return [
        h("p", { class: "dl-question" }, item.question),
        options.element,
        h("div", { class: "dl-row" }, check),
        verdict,
      ];
    },
  };
  const HEADINGS = {
    match: "Seven formulas",
    number: "Numbers",
    bug: "Find the bug",
    plot: "Predict the plot",
  };

  const cards = items.map((item, i) => {
    const title = h("p", { class: "dl-title", tabindex: "-1" }, h("strong", {}, HEADINGS[item.kind]), ` · ${i + 1} of ${items.length}`);
    const lead = item.kind === "match" ? h("p", { class: "dl-question" }, item.question) : null;
    return h("section", { hidden: true, "data-part": item.id }, title, lead, ...kinds[item.kind](item));
  });
  const result = h("section", { hidden: true, "data-part": "score" });
  const dots = [...items, null].map((item, i) =>
    h("button", { type: "button", class: "dl-dot", onclick: () => go(i) }, item ? String(i + 1) : "★"),
  );
  const back = button("Back", () => go(Math.max(model.get("item") - 1, 0)));
  const on = button("Next", () => go(Math.min(model.get("item") + 1, items.length)));
  const standing = h("span", { class: "dl-soft" });
  view.root.append(
    h("div", { class: "dl-dots", role: "group", "aria-label": "items" }, ...dots),
    ...cards,
    result,
    h("div", { class: "dl-row" }, back, on, standing),
  );

  function showScore(points) {
    const open = items.filter((item) => !(item.id in answers()));
    const missed = items.filter((item) => item.id in answers() && answers()[item.id].first < pointsOf(item));
    const lessons = [...new Set(missed.flatMap((item) => item.lesson ?? item.pairs.map((pair) => pair.lesson)))].sort();
    const words = open.length
      ? `${open.length} of ${items.length} items are still open.`
      : points === most
        ? "All of it. There is nothing left that this course could teach you; go and build something."
        : "The whole test is done.";
    const revisit = lessons.length
      ? [h("p", {}, "Worth another look: ", ...lessons.flatMap((lesson, i) => [i ? ", " : "", lessonLink(lesson)]), ".")]
      : [];
    const again = button("Start over", () => view.set({ answers: {}, item: 0 }));
    result.replaceChildren(
      h("p", { class: "dl-title" }, h("strong", {}, "Your score")),
      h("p", { class: "dl-score" }, h("span", { class: "dl-number dl-result" }, String(points)), ` of ${most} points at the first try`),
      h("p", {}, words),
      ...revisit,
      h("div", { class: "dl-row" }, again),
    );
  }

  let shown = null;
  function paint() {
    const now = clamp(model.get("item"), 0, items.length);
    const given = answers();
    const points = Object.values(given).reduce((sum, { first }) => sum + first, 0);
    cards.forEach((card, i) => (card.hidden = i !== now));
    result.hidden = now !== items.length;
    dots.forEach((dot, i) => {
      const item = items[i];
      const answer = item && given[item.id];
      const state = !item ? "score" : !answer ? "open" : answer.now === pointsOf(item) ? "right" : "wrong";
      dot.dataset.state = state;
      dot.setAttribute("aria-current", String(i === now));
      describe(dot, item ? `item ${i + 1}, ${HEADINGS[item.kind]}, ${state}` : "score");
    });
    back.disabled = now === 0;
    on.disabled = now === items.length;
    const words = `${points} of ${most} points so far`;
    fill(standing, words, now === items.length ? "" : words);
    if (now === items.length) showScore(points);
    // Whoever went on by keyboard goes on reading at the new item.
    if (shown !== null && shown !== now && view.root.contains(document.activeElement)) {
      cards[now]?.querySelector(".dl-title").focus({ preventScroll: true });
    }
    shown = now;
    view.root.dataset.ready = true;
  }

  return view.end;
}

export { isRight, readNumber, shuffled };
export default { render };
