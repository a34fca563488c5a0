"""Several views of one widget in a page: what belongs to the widget is there once."""

import json
from typing import Any

import pytest
import torch
from test_no_kernel import denoiser, plain

pytest.importorskip("anywidget")

from diffusion_lessons.math.sampling import Step, sample
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.page import widgets

pytestmark = pytest.mark.usefixtures("quiet")

# One model, as anywidget gives it to its views: an object for each of them. A kernel answers each
# question to all, and each part takes it a few. Questions are counted.
SHOW = """async ({ widget, models, views, calls }) => {
    const state = models[widget];
    const heard = new Map();
    const tell = (name, content) => [...heard.get(name) ?? []].forEach(hear => hear(content));
    const real = {
        get: name => state[name],
        set(name, value) {
            if (state[name] === value) return;
            state[name] = value;
            tell(`change:${name}`);
        },
        on: (name, listener) => heard.set(name, [...heard.get(name) ?? [], listener]),
        off: (name, listener) => heard.set(name, heard.get(name).filter(one => one !== listener)),
        save_changes() {},
        send(message) {
            window.asked.push(message);
            setTimeout(() => {
                if (message.ask === "kernel") return tell("msg:custom", { kernel: true });
                const wish = `${message.part} of ${message.seed}`;
                const done = Math.min((work[wish] ?? 0) + 1, calls);
                work[wish] = done % calls;
                const name = `_part_${message.part}`;
                if (done === calls) real.set(name, { ...stored, seed: message.seed });
                tell("msg:custom", { ...message, done, of: calls });
            });
        },
        widget_manager: { get_model: async id => ({ get: name => models[id][name] }) },
    };
    const work = {};
    const stored = Object.entries(state).find(([name]) => name.startsWith("_part_"))?.[1];
    window.asked = [];
    window.model = real;
    document.body.replaceChildren(document.createElement("main"));
    const blob = new Blob([state._esm], { type: "text/javascript" });
    const make = (await import(URL.createObjectURL(blob))).default;
    const definition = make();
    window.show = async () => {
        const el = document.createElement("div");
        document.querySelector("main").append(el);
        return definition.render({ model: { ...real }, el });
    };
    window.ends = [];
    for (let i = 0; i < views; i++) window.ends.push(await window.show());
}"""


@pytest.fixture(scope="module")
def page(watched: tuple[Any, Any]) -> Any:
    return watched[0]


def show(page: Any, widget: Any, views: int, calls: int = 3) -> Any:
    states = {model.model_id: model.get_state() for model in [widget, widget._kit]}
    models = json.loads(json.dumps(states, default=plain))
    page.goto("about:blank")
    page.set_content("<!doctype html><html lang=en><title>views</title><body></body></html>")
    about = {"widget": widget.model_id, "models": models, "views": views, "calls": calls}
    page.evaluate(SHOW, about)
    return page.get_by_role("group")


@pytest.fixture(scope="module")
def explorer() -> Any:
    noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return widgets.StepsExplorer(denoiser, noise, linear_schedule(), (1, 2, 5), (0, 1))


def computed(page: Any, seed: int, parts: int = 6) -> list[dict[str, Any]]:
    """All that was asked for, once every part belongs to the noise of ``seed``."""
    current = (
        "([seed, n]) => [...Array(n).keys()].every(k => model.get(`_part_${k}`)?.seed === seed)"
    )
    page.wait_for_function(current, arg=[seed, parts])
    page.wait_for_timeout(100)  # for what nobody should ask any more
    asked = page.evaluate("window.asked")
    return [one for one in asked if one["ask"] == "part" and one["seed"] == seed]


@pytest.mark.parametrize("views", [1, 2, 4])
def test_however_many_views_each_part_is_asked_for_once(
    page: Any, explorer: Any, views: int
) -> None:
    groups = show(page, explorer, views)
    groups.last.get_by_role("button", name="New noise").click()
    asked = computed(page, 1)
    assert len(asked) == 6 * 3
    assert len({message["question"] for message in asked}) == len(asked)
    for group in groups.all():
        assert group.get_attribute("data-ready") == "true"
        assert group.get_by_role("progressbar").count() == 0


def test_the_talk_goes_on_when_the_view_that_began_it_is_closed(page: Any, explorer: Any) -> None:
    groups = show(page, explorer, 2, calls=20)
    groups.first.get_by_role("button", name="New noise").click()
    groups.last.get_by_role("progressbar").wait_for()  # the other view tells of it too
    page.evaluate("window.ends[0]()")
    assert len(computed(page, 1)) == 6 * 20
    assert groups.count() == 1
    assert groups.first.get_attribute("data-ready") == "true"


def test_a_view_opened_after_the_last_one_was_closed_goes_on(page: Any, explorer: Any) -> None:
    groups = show(page, explorer, 1, calls=20)
    groups.first.get_by_role("button", name="New noise").click()
    page.wait_for_function("() => window.asked.length > 10")
    page.evaluate("window.ends[0]()")
    page.evaluate("window.show()")
    assert len(computed(page, 1)) <= 6 * 20 + 1  # the question that was open is asked again
    assert groups.first.get_attribute("data-ready") == "true"


def test_answers_to_another_page_are_not_taken_for_ones_own(page: Any, explorer: Any) -> None:
    show(page, explorer, 1, calls=40)
    page.get_by_role("button", name="New noise").click()
    page.evaluate(
        """() => { for (let i = 0; i < 50; i++) setTimeout(() => model.send(
            { ask: "part", part: i % 6, seed: 1, question: `other-${i}` }), i); }"""
    )
    asked = [one["question"].startswith("other") for one in computed(page, 1)]
    assert sum(asked) == 50
    assert len(asked) <= 6 * 40 + 50


def test_two_views_of_a_film_play_it_once(page: Any) -> None:
    noise = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    steps = list(sample(denoiser, noise, linear_schedule(), 50))
    groups = show(page, widgets.TrajectoryPlayer(steps, autoplay=True), 2)
    assert groups.count() == 2
    page.evaluate(
        """() => {
            window.seen = [];
            model.on("change:frame", () => window.seen.push(model.get("frame")));
        }"""
    )
    page.wait_for_function("() => window.seen.length >= 8")
    frames = page.evaluate("window.seen.slice(0, 8)")
    assert frames == sorted(frames)  # two players would pull it to and fro
    assert page.get_by_role("button", name="Pause").count() == 1


def test_a_key_counts_from_the_frame_where_the_film_is(page: Any) -> None:
    noise = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    steps = list(sample(denoiser, noise, linear_schedule(), 50))
    show(page, widgets.TrajectoryPlayer(steps), 1)
    slider = page.get_by_role("slider")
    slider.focus()
    assert slider.input_value() == "0"
    before_the_repaint = slider.evaluate(
        """slider => {
            model.set("frame", 30);
            slider.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
            return slider.value;
        }"""
    )
    assert before_the_repaint == "30"
    page.keyboard.press("Home")
    assert page.evaluate("model.get('frame')") == 0


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (5, 2)])
def test_a_film_of_something_else_says_what_it_shows(page: Any, shape: tuple[int, ...]) -> None:
    steps = [Step(t, torch.zeros(shape), torch.ones(shape)) for t in (900, 300, 0)]
    film = widgets.TrajectoryPlayer(steps, names=("noised once more", "where it ends"))
    groups = show(page, film, 1)
    page.wait_for_function("() => document.querySelector('[data-ready=true]')")
    words = groups.first.inner_text()
    assert "noised once more" in words
    assert "where it ends" in words
    assert "expected" not in words
    labels = [canvas.get_attribute("aria-label") for canvas in groups.first.locator("canvas").all()]
    assert ["noised once more" in (label or "") for label in labels] == [True, False]
    assert "where it ends" in (labels[1] or "")
    assert "at time 900" in (labels[1] or "")
