// FinalTest in the page.

import { button, clamp, describe, fill, h, newId, pieces, short, stage, uniforms } from "kit";

const WHOLE = (mark) => new RegExp(`^\\d{1,3}(${mark}\\d{2,3})*${mark}\\d{3}$`); // in groups of digits

// What a text may mean as a number, the likelier first: nothing; one number; two, where a single
// comma or point may part decimals or thousands. A fraction or a share in percent is one, too.
function readings(text) {
  const plain = text.replace(/^[~≈=\s]+/, "").replace(/[\u2212\u2010-\u2013]/g, "-");
  const [, bare, percent] = /^(.*?)\s*(%|percent|per cent)?\s*$/is.exec(plain);
  const [, over, under] = /^([+-]?\d+)\s*\/\s*(\d*[1-9]\d*)$/.exec(bare) ?? [];
  const found = over ? [Number(over) / Number(under)] : numerals(bare);
  return percent ? found.map((value) => value / 100) : found;
}

// Blanks part thousands, both marks together both.
function numerals(plain) {
  const parts = /^([+-]?)\s*(\d[\d.,'\u2019\s]*|[.,]\d+)(?:\s*(?:e|[x×*·]\s*10\s*\^?)\s*([+-]?\d+))?$/i.exec(plain);
  if (!parts) return [];
  const [, sign, given, power = "0"] = parts;
  let body = given.trim();
  const [, whole, rest] = /^(.*?)([.,]\d*)?$/.exec(body);
  const blanks = /['\u2019\s]/.test(body);
  if (blanks) {
    if (!WHOLE("['\u2019\\s]").test(whole)) return [];
    body = whole.replace(/\D/g, "") + (rest ?? "");
  }
  const number = (digits) => {
    const value = Number(`${sign}${digits}e${power}`);
    return Number.isFinite(value) ? [value] : [];
  };
  const marks = body.replace(/\d/g, "");
  if (marks.length === 0) return number(body);
  if (marks.length === 1) {
    const decimal = number(body.replace(",", "."));
    const thousands = !blanks && /^[1-9]\d{0,2}[.,]\d{3}$/.test(body);
    return thousands ? [...decimal, ...number(body.replace(/[.,]/, ""))] : decimal;
  }
  // Several: all alike part thousands, and another one at the end parts decimals.
  const last = marks.at(-1);
  const end = marks[0] === last ? body.length : body.lastIndexOf(last);
  const [groups, decimals] = [body.slice(0, end), body.slice(end + 1)];
  if (!WHOLE(marks[0] === "." ? "\\." : ",").test(groups)) return [];
  return number(`${groups.replace(/\D/g, "")}.${decimals}`);
}

// Two decimals, or one percent of a large number.
const isRight = (given, answer) => Math.abs(given - answer) <= Math.max(0.0055, 0.01 * Math.abs(answer));

// An answer as it is shown: whoever types it in again is right.
const written = (answer) => (Number.isInteger(answer) ? String(answer).replace("-", "−") : short(answer, 4));

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

// Where the page itself leads to a lesson, as the book's contents do, whatever its host makes of
// addresses; else the notebook beside this one.
function lessonLink(lesson) {
  const contents = [...document.querySelectorAll("nav a.reference.internal")];
  const same = contents.find((a) => new RegExp(`(^|/)${lesson}(\\.html)?/?$`).test(a.getAttribute("href")));
  const [number] = lesson.split("_");
  return h("a", { href: same?.getAttribute("href") ?? `${lesson}.ipynb`, target: "_blank" }, `lesson ${number}`);
}

// Of the pairs that were not matched at the first try; of all, where that is not known.
function lessonsMissed({ pairs }, { missed }) {
  const known = Array.isArray(missed) && missed.length && missed.every((i) => i in pairs);
  return (known ? missed : Object.keys(pairs)).map((i) => pairs[i].lesson);
}

const pointsOf = (item) => item.pairs?.length ?? 1;

// Text with q(x_t | x_{t-1}) style subscripts.
const sentence = (text) => pieces(text).map(([part, low]) => (low ? h("sub", {}, part) : part));

// The memory that a browser has for this test; null where it has none.
function memoryFor(items) {
  // In one order: a kernel sends its own, and a notebook is stored with names in the alphabet's.
  const ordered = (variants) => variants?.map(({ answer, text }) => ({ answer, text }));
  const text = JSON.stringify(items.map(({ id, question, variants }) => [id, question, ordered(variants)]));
  let hash = 0x811c9dc5; // FNV-1a: another test is another text
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  const key = `diffusion-lessons final test ${(hash >>> 0).toString(16)}`;
  const isAnswer = (item, answer) =>
    [answer?.first, answer?.now].every((points) => Number.isInteger(points) && 0 <= points && points <= pointsOf(item));
  try {
    localStorage.setItem(`${key} probe`, "1");
    localStorage.removeItem(`${key} probe`);
  } catch {
    return null;
  }
  return {
    key,
    // What is there, if anybody else has written there only what makes sense.
    read() {
      try {
        const { item, answers } = JSON.parse(localStorage.getItem(key));
        const known = items.filter(({ id }) => id in answers);
        return {
          item: clamp(Number(item) || 0, 0, items.length),
          answers: Object.fromEntries(
            known.filter((one) => isAnswer(one, answers[one.id])).map(({ id }) => [id, answers[id]]),
          ),
        };
      } catch {
        return { item: 0, answers: {} };
      }
    },
    // Whether it could be written.
    write(content) {
      try {
        const text = JSON.stringify(content);
        if (localStorage.getItem(key) !== text) localStorage.setItem(key, text);
        return true;
      } catch {
        return false;
      }
    },
  };
}

function render({ model, el }) {
  const items = model.get("_items");
  const most = items.reduce((sum, item) => sum + pointsOf(item), 0);
  const view = stage({ model, el, label: "Final test", watch: ["item", "answers"], paint });
  const answers = () => model.get("answers");
  const go = (item) => view.set({ item });

  // An answer is kept as { first, now, given, asked, missed }: its points at the first try, which
  // counts, and now; what was filled in; of several sets of numbers, which was asked; of several
  // pairs, those that were not matched at the first try.
  const shownAnswers = new Map(); // by item, what its card shows
  function record(item, now, given, more = {}) {
    const { first = now, missed = more.missed } = answers()[item.id] ?? {};
    const answer = { first, now, given, ...more, ...(missed && { missed }) };
    view.set({ answers: { ...answers(), [item.id]: answer } });
    showAnswer(item);
  }
  function showAnswer(item) {
    const answer = answers()[item.id];
    if (shownAnswers.get(item) === answer) return;
    shownAnswers.set(item, answer);
    built.get(item).show(answer);
  }

  function feedback() {
    return h("div", { class: "dl-note", role: "status", hidden: true });
  }
  function showVerdict(place, right, ...words) {
    place.hidden = false;
    place.replaceChildren(
      h("strong", { class: right ? "dl-result" : "dl-ink" }, right ? "Right. " : "Not yet. "),
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
    return {
      element: list,
      value: () => inputs.findIndex((input) => input.checked),
      choose: (chosen) => inputs.forEach((input, i) => (input.checked = i === chosen)),
    };
  }

  // Each kind of item: its elements, and how they show an answer, or that there is none.
  const kinds = {
    match(item) {
      const seed = view.ofModel(`order of ${item.id}`, () => Math.floor(Math.random() * 2 ** 31));
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
        const given = rows.map(({ choice }) => Number(choice.value));
        if (given.includes(-1)) return showVerdict(verdict, false, "Choose a meaning for each formula first.");
        const missed = given.flatMap((k, i) => (k === i ? [] : [i]));
        record(item, given.length - missed.length, given, { missed });
      });
      function show(answer) {
        rows.forEach(({ choice, comment }, i) => {
          choice.value = answer?.given?.[i] ?? -1;
          comment.hidden = !answer;
          const good = Number(choice.value) === i;
          const { reason, lesson } = item.pairs[i];
          comment.replaceChildren(
            h("strong", { class: good ? "dl-result" : "dl-ink" }, good ? "Right: " : "Not yet: "),
            ...sentence(reason),
            " See ",
            lessonLink(lesson),
            ".",
          );
        });
        if (!answer) return (verdict.hidden = true);
        const words = `${answer.now} of ${rows.length} formulas are matched.`;
        showVerdict(verdict, answer.now === rows.length, words);
      }
      return {
        elements: [...rows.map(({ element }) => element), h("div", { class: "dl-row" }, check), verdict],
        show,
      };
    },

    number(item) {
      const count = item.variants.length;
      // Which set of numbers is asked, in all views.
      const drawn = view.ofModel(`numbers of ${item.id}`, () => ({ k: Math.floor(Math.random() * count), views: new Set() }));
      const id = newId();
      const text = h("label", { for: id });
      const input = h("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", "data-name": "number" });
      const verdict = feedback();
      const ask = () => {
        text.replaceChildren(...sentence(item.variants[drawn.k].text));
        input.value = "";
        verdict.hidden = true;
      };
      const check = () => {
        const [likelier, other] = readings(input.value);
        if (likelier === undefined) return showVerdict(verdict, false, "A number is wanted; two decimals are enough.");
        if (item.share && likelier > 1) {
          const share = Number((likelier / 100).toPrecision(9));
          const so = share > 1 ? "" : `: write ${likelier} % or ${share}, if you mean that`;
          return showVerdict(verdict, false, `A share is at most 1${so}.`);
        }
        const { answer } = item.variants[drawn.k];
        const right = isRight(likelier, answer);
        if (!right && other !== undefined && isRight(other, answer)) {
          const both = `${input.value.trim()} may be ${likelier} or ${other}`;
          return showVerdict(verdict, false, `${both}: write the one that you mean.`);
        }
        record(item, Number(right), input.value.trim(), { asked: drawn.k });
      };
      function show(answer) {
        if (answer?.asked in item.variants) drawn.k = answer.asked;
        ask();
        if (!answer) return;
        input.value = answer.given ?? "";
        const right = answer.now === 1;
        const words = right ? "" : `It is ${written(item.variants[drawn.k].answer)}. `;
        showVerdict(verdict, right, words, ...because(item));
      }
      input.addEventListener("keydown", (event) => event.key === "Enter" && check());
      // Two sets of numbers may have been drawn alike.
      const others = () => item.variants.flatMap(({ text }, k) => (text === item.variants[drawn.k].text ? [] : [k]));
      const anew = button("Other numbers", () => {
        const choices = others();
        drawn.k = choices[Math.floor(Math.random() * choices.length)];
        for (const askThere of drawn.views) askThere();
      });
      drawn.views.add(ask);
      view.atEnd(() => drawn.views.delete(ask));
      ask();
      const row = h("div", { class: "dl-row" }, input, button("Check", check), others().length > 0 ? anew : null);
      return { elements: [h("p", { class: "dl-question" }, text), row, verdict], show };
    },

    bug(item) {
      const lines = item.lines.map((line, i) => [
        h("span", { class: "dl-soft", "aria-hidden": "true" }, String(i + 1)),
        h("code", {}, line),
      ]);
      const options = radios("the faulty line", lines.map((parts) => h("span", {}, ...parts)), "dl-code");
      const shown = h("img", { src: `data:image/webp;base64,${item.picture}`, alt: item.alt });
      const place = h("div", { class: "dl-sides" }, options.element, h("div", { class: "dl-card" }, shown));
      const truth = `It is line ${item.right + 1}. `;
      return oneOf(item, options, place, "Choose a line first.", truth);
    },

    plot(item) {
      const options = radios(
        "plots",
        item.pictures.map((webp) => h("img", { src: `data:image/webp;base64,${webp}`, alt: "" })),
        "dl-options",
        item.alts.map((alt, i) => `plot ${i + 1}: ${alt}`),
      );
      const truth = `It is plot ${item.right + 1}: ${item.alts[item.right]}. `;
      return oneOf(item, options, options.element, "Choose a plot first.", truth);
    },
  };

  // What the two kinds share of which one option is to be chosen.
  function oneOf(item, options, place, missing, truth) {
    const verdict = feedback();
    const check = button("Check", () => {
      const given = options.value();
      if (given < 0) return showVerdict(verdict, false, missing);
      record(item, Number(given === item.right), given);
    });
    function show(answer) {
      options.choose(answer?.given ?? -1);
      verdict.hidden = !answer;
      if (answer) showVerdict(verdict, answer.now === 1, answer.now === 1 ? "" : truth, ...because(item));
    }
    const question = h("p", { class: "dl-question" }, item.question);
    return { elements: [question, place, h("div", { class: "dl-row" }, check), verdict], show };
  }

  const HEADINGS = {
    match: "Seven formulas",
    number: "Numbers",
    bug: "Find the bug",
    plot: "Predict the plot",
  };

  const built = new Map(items.map((item) => [item, kinds[item.kind](item)]));
  const cards = items.map((item, i) => {
    const title = h("p", { class: "dl-title", tabindex: "-1" }, h("strong", {}, HEADINGS[item.kind]), ` · ${i + 1} of ${items.length}`);
    const lead = item.kind === "match" ? h("p", { class: "dl-question" }, item.question) : null;
    return h("section", { hidden: true, "data-part": item.id }, title, lead, ...built.get(item).elements);
  });
  const result = h("section", { hidden: true, "data-part": "score" });
  const dots = [...items, null].map((item, i) =>
    h("button", { type: "button", class: "dl-dot", onclick: () => go(i) }),
  );
  const back = button("Back", () => go(Math.max(model.get("item") - 1, 0)));
  const on = button("Next", () => go(Math.min(model.get("item") + 1, items.length)));
  const standing = h("span", { class: "dl-soft" });
  const kept = h("p", { class: "dl-soft dl-kept" });

  const memory = memoryFor(items);
  const sayKept = (does) =>
    fill(
      kept,
      does,
      does
        ? "Your answers are kept in this browser."
        : "This browser keeps no answers for this page: they are gone when it is loaded anew. The star has a list of them to print.",
    );
  const keep = () => sayKept(Boolean(memory?.write({ item: model.get("item"), answers: answers() })));
  function recall() {
    const { item, answers: before } = memory.read();
    const own = answers();
    const lacking = Object.keys(before).filter((id) => !(id in own));
    if (lacking.length) view.set({ item: Object.keys(own).length ? model.get("item") : item, answers: { ...before, ...own } });
  }
  // Another page with the same test has gone on, or has begun anew. What it wrote without another
  // answer (where it stands) is no news: two pages that took it for some would write for ever.
  const onStorage = (event) => {
    if (event.key !== memory?.key || !event.newValue) return;
    const there = memory.read().answers;
    if (JSON.stringify(there) !== JSON.stringify(answers())) view.set({ answers: there });
  };
  window.addEventListener("storage", onStorage);
  for (const trait of ["item", "answers"]) model.on(`change:${trait}`, keep);
  view.atEnd(() => {
    window.removeEventListener("storage", onStorage);
    for (const trait of ["item", "answers"]) model.off(`change:${trait}`, keep);
  });
  view.root.append(
    h("div", { class: "dl-dots", role: "group", "aria-label": "items" }, ...dots),
    ...cards,
    result,
    h("div", { class: "dl-row" }, back, on, standing),
    kept,
  );

  function showScore(points) {
    const open = items.filter((item) => !(item.id in answers()));
    const missed = items.filter((item) => item.id in answers() && answers()[item.id].first < pointsOf(item));
    const lessons = [...new Set(missed.flatMap((item) => item.lesson ?? lessonsMissed(item, answers()[item.id])))].sort();
    const words = () =>
      open.length
        ? [`${open.length} of ${items.length} items are still open.`]
        : points === most
          ? ["All of it. Nothing in lessons 00 to 07 is left for you; ", lessonLink("09_since"), " is, or go and build something."]
          : ["The whole test is done."];
    const revisit = lessons.length
      ? [h("p", {}, "Worth another look: ", ...lessons.flatMap((lesson, i) => [i ? ", " : "", lessonLink(lesson)]), ".")]
      : [];
    result.replaceChildren(
      h("p", { class: "dl-title" }, h("strong", {}, "Your score")),
      h("p", { class: "dl-score" }, h("span", { class: "dl-number dl-result" }, String(points)), ` of ${most} points at the first try`),
      h("p", {}, ...words()),
      ...revisit,
      h("div", { class: "dl-list" }, list()),
      h("div", { class: "dl-row" }, button("Print the list", () => printList(words())), startOver()),
      refused,
    );
  }
  const refused = h("p", { class: "dl-soft", role: "status", hidden: true }, "No page to print could be opened here; the list stands above.");

  // Every item with its points, one a row.
  function list() {
    const head = ["", "item", "first try", "now", "lessons"].map((words) => h("th", { scope: "col" }, words));
    const rows = items.map((item, i) => {
      const answer = answers()[item.id];
      const of = pointsOf(item);
      const asked = item.variants?.[answer?.asked ?? 0].text ?? item.question;
      const lessons = [...new Set(item.lesson ? [item.lesson] : item.pairs.map((pair) => pair.lesson))].sort();
      const cells = [
        String(i + 1),
        h("span", {}, ...sentence(`${HEADINGS[item.kind]}: ${asked}`)),
        answer ? `${answer.first} of ${of}` : "open",
        answer ? `${answer.now} of ${of}` : "",
        lessons.map((lesson) => lesson.split("_")[0]).join(", "),
      ];
      return h("tr", {}, ...cells.map((cell) => h("td", {}, cell)));
    });
    return h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
  }

  // The list alone, on a page of its own.
  function printList(words) {
    const paper = window.open("", "_blank");
    refused.hidden = paper !== null;
    if (!paper) return;
    paper.document.title = "The final test";
    const look = "body { font: 11pt sans-serif } td, th { padding: 3px 10px 3px 0; text-align: left; vertical-align: top }";
    paper.document.head.append(h("style", {}, look));
    paper.document.body.replaceChildren(
      h("h1", {}, `The final test, ${new Date().toLocaleDateString()}`),
      h("p", {}, `${total()} of ${most} points at the first try. `, ...words),
      list(),
    );
    paper.print();
  }

  // What half an hour has made is not gone at one slip of the hand.
  function startOver() {
    const again = button("Start over", () => {
      if (again.dataset.sure) return view.set({ answers: {}, item: 0 });
      again.dataset.sure = true;
      again.textContent = "Delete all answers";
    });
    again.addEventListener("blur", () => {
      delete again.dataset.sure;
      again.textContent = "Start over";
    });
    return again;
  }

  const total = () => Object.values(answers()).reduce((sum, { first }) => sum + first, 0);
  let shown = null;
  function paint() {
    const now = clamp(model.get("item"), 0, items.length);
    const given = answers();
    const points = total();
    items.forEach(showAnswer);
    cards.forEach((card, i) => (card.hidden = i !== now));
    result.hidden = now !== items.length;
    dots.forEach((dot, i) => {
      const item = items[i];
      const answer = item && given[item.id];
      const state = !item ? "score" : !answer ? "open" : answer.now === pointsOf(item) ? "right" : "wrong";
      dot.dataset.state = state;
      dot.setAttribute("aria-current", String(i === now));
      const mark = { right: "✓ ", wrong: "✗ " }[state] ?? "";
      fill(dot, mark, item ? `${mark}${i + 1}` : "★");
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

  if (memory) recall();
  keep();
  return view.end;
}

export { isRight, readings, shuffled, written };
export default { render };
