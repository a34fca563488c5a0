"""The digit lab: draw a digit, and let the networks compute in the page what you ask of them."""

from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ...data import digits, to_unit
from ...math.editing import restore
from ...math.randomness import RowGenerator
from ...math.sampling import ddim_step, stepwise
from ...networks import cards
from ...networks.checkpoints import load_pretrained
from ...networks.compute import Compute
from ...networks.diffusion import DiffusionModel, Usual
from ...networks.drawing import DrawSettings
from .. import engine, kit
from ..palette import RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TASKS = ("restore", "fill", "draw", "blend", "invert", "compare")
OF_ANY_PICTURES = ("draw", "blend")
"""The tasks that need no drawn digit."""
DIGIT = (1, 28, 28)
NETWORKS = ("digits-ddpm", "digits-ddgan", "digits-vae", "digits-consistency", "digits-reflow")
SAMPLERS = ("ddim", "ddpm", "heun", "dpm++", "euler", "consistency")
FEW = (1, 2, 4)  # calls of consistency and reflow, beside the others
COUNT = 6  # pictures of a task
LAST_SEED = 999_999


class DigitLab(kit.Explorer):
    """Draw a digit, and have it restored, filled in, drawn as another, taken apart and rebuilt.

    All of it is computed in the page by shipped networks (`page.engine`), on the reader's own
    device, with or without a kernel, step by step as it is computed; each comes to the page when it
    is first needed. ``task`` says what:

    - "restore": the drawing noised up to ``t`` and walked back (`math.editing.restore`);
    - "fill": a hole in the drawing filled (`math.editing.keeping`);
    - "draw": six new digits by ``network``, those of ``diffusion-lessons sample`` for the seed;
    - "blend": from the noise of ``seed`` to that of ``other`` on the great circle;
    - "invert": the noise that DDIM finds for the drawing, and the drawing rebuilt from it;
    - "compare": a VAE, consistency, reflow, a denoising diffusion GAN, DDIM and DDPM from one seed,
      calls and time; consistency and reflow with as many ``calls`` as you ask of them.

    ``model`` is a `DiffusionModel` of your own that draws pictures and knows at most ten classes,
    or none. If they are grey ones of 28 x 28, all tasks take it, under its ``name``, as they take
    digits-ddpm; whatever it predicts and whatever its schedule, which may have fewer times than the
    settings below allow. One of other pictures, in colour, say, has the lab for itself, with the
    tasks "draw" and "blend": nobody draws such pictures by hand. If its classes have names, they
    are asked for by these. If it has a usual sampler and steps of its own, as digits-consistency
    and digits-reflow have, the lab begins with them. The page gets it from the kernel, exported
    when it is first needed (``pip install 'diffusion-lessons[page]'``), as it was when the lab was
    made.

    A drawing is brought to 20 x 20 pixels and centred by its mass, as MNIST's digits are. Beside
    each result lies the nearest of 2,000 training digits, by squared distance of pixels.

    Synced traits: ``task``; ``network`` ("digits-ddpm", "digits-ddgan", "digits-vae",
    "digits-consistency", "digits-reflow" or ``name``, which is what a lab with a ``model`` begins
    with); ``label`` (-1 asks for any digit); ``scale`` of the classifier-free guidance, 0..8; ``t``
    and ``steps``, 1..1000; ``sampler`` ("ddim", "ddpm", "heun", "dpm++", "euler" or "consistency");
    ``eta`` of DDIM, 0..1; ``calls`` (1, 2 or 4); ``seed`` and ``other``, 0..999999; ``walk`` (0 the
    noise, 1 the result). All tasks but "draw" work with digits-ddpm or ``name``. ``drawing()`` and
    ``pictures()`` are what was drawn and what came of it. Raises traitlets.TraitError for values
    outside these; TypeError, ValueError and ImportError for a model that the lab cannot take.
    """

    _files = kit.files(__file__, "digit_lab.css", "_drawing.js", "_lab_tasks.js", "digit_lab.js")

    task = traitlets.Enum(TASKS, "restore").tag(sync=True)
    network = traitlets.Unicode("digits-ddpm").tag(sync=True)
    label = traitlets.Int(-1, min=-1, max=9).tag(sync=True)
    scale = traitlets.Float(1.0, min=0.0, max=8.0).tag(sync=True)
    t = traitlets.Int(500, min=1, max=1000).tag(sync=True)
    steps = traitlets.Int(10, min=1, max=1000).tag(sync=True)
    sampler = traitlets.Enum(SAMPLERS, "ddim").tag(sync=True)
    eta = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    calls = traitlets.Enum(FEW, 2).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=LAST_SEED).tag(sync=True)
    other = traitlets.Int(1, min=0, max=LAST_SEED).tag(sync=True)
    walk = traitlets.Float(1.0, min=0.0, max=1.0).tag(sync=True)

    _own = traitlets.Dict().tag(sync=True)  # of the learner's model: name, part, classes, T
    _usual = traitlets.Dict().tag(sync=True)  # sampler and steps of a network, if its own, by name
    _presets = kit.as_bytes()  # a test digit of each class, greys, compressed
    _stored = kit.as_bytes()  # the first task's result, for pages that compute nothing
    _drawing = kit.as_bytes()  # greys [28, 28]
    _pictures = kit.as_bytes()  # greys [N, 28, 28], once something was computed

    _model: engine.OwnNetwork | None = None

    def __init__(
        self, model: DiffusionModel | None = None, name: str = "yours", **settings: Any
    ) -> None:
        self._model = None if model is None else _checked(model, name)
        if self._model:
            settings = {"_own": _told(self._model), "network": name} | settings
        if self._shape != DIGIT:
            settings = {"task": "draw"} | settings
        usual = _usual(self._model)
        settings = usual.get(settings.get("network", ""), {}) | settings
        test = digits(train=False)
        first = torch.stack([(test.labels == k).nonzero()[0, 0] for k in range(10)])
        self._first = to_unit(test.images[first])
        super().__init__(_presets=kit.pack_greys(self._first, 256), _usual=usual, **settings)
        apart = self._model if self._shape != DIGIT else None
        self._stored = kit.pack_greys(_first_drawn(apart) if apart else self._restored())

    @traitlets.validate("network")
    def _check_network(self, proposal: Any) -> str:
        names = [self._model.about["name"]] if self._model else []
        if self._shape == DIGIT:
            names = [*NETWORKS, *names]
        if proposal.value not in names:
            raise traitlets.TraitError(
                f"network must be one of {', '.join(names)}, got {proposal.value!r}"
            )
        return str(proposal.value)

    @traitlets.validate("task")
    def _check_task(self, proposal: Any) -> str:
        if self._shape != DIGIT and proposal.value not in OF_ANY_PICTURES:
            raise traitlets.TraitError(
                f"task must be one of {', '.join(OF_ANY_PICTURES)} for a network that draws "
                f"{list(self._shape)}, got {proposal.value!r}"
            )
        return str(proposal.value)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of the pictures: a digit's, or what the learner's model draws."""
        return DIGIT if self._model is None else tuple(self._model.model.shape)

    def engine_part(self, name: str) -> dict[str, bytes]:
        """See `kit.Explorer`: the learner's network is this lab's own."""
        if self._model and name == self._model.part:
            return self._model.files
        return super().engine_part(name)

    def _restored(self) -> Tensor:
        """What the page shows before it computes: a 3, restored from its middle, [6, 1, 28, 28]."""

        model = load_pretrained("digits-ddpm")
        assert isinstance(model, DiffusionModel)
        x_0 = self._first[3:4].expand(COUNT, -1, -1, -1)
        walk = restore(
            model.denoiser(clip=1),
            x_0,
            500,
            model.schedule,
            10,
            RowGenerator(0, torch.arange(COUNT)),
            stepwise(ddim_step),
        )
        for step in walk:
            pass
        return step.x

    def drawing(self) -> Tensor:
        """What was drawn, as the network gets it: float32 [28, 28] in -1..1."""
        if len(self._drawing) != 28 * 28:
            return self._first[3, 0]
        return to_unit(torch.tensor(list(self._drawing), dtype=torch.uint8).view(28, 28))

    def pictures(self) -> Tensor:
        """The last pictures that the page computed, or the stored ones: [N, C, H, W] in -1..1."""
        if not self._pictures:
            return kit.unpack_greys(self._stored, [-1, *self._shape])
        greys = torch.tensor(list(self._pictures), dtype=torch.uint8)
        return to_unit(greys.view(-1, *self._shape))

    def figure(self) -> "Figure":
        """The drawing, where there is one, and what came of it."""
        shown = [(picture, "computed", RESULT) for picture in kit.as_kept(self.pictures()[:COUNT])]
        if self._shape == DIGIT:
            shown = [(self.drawing(), "given", SIGNAL), *shown]
        figure = kit.new_figure(1.2 * len(shown), 1.6)
        for axes, picture in zip(
            figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
        ):
            kit.draw_picture(axes, *picture)
        return figure


def _checked(model: Any, name: str) -> engine.OwnNetwork:
    """The learner's model for the page, or why the lab cannot take it."""
    if not isinstance(model, DiffusionModel):
        raise TypeError(f"model must be a DiffusionModel, got {type(model).__name__}")
    if not kit.are_pictures((1, *model.shape)):
        raise ValueError(
            "the digit lab takes networks of pictures [1 or 3, H, W] of at most 64 x 64 pixels, "
            f"and this one draws {list(model.shape)}"
        )
    if model.classes > 10:
        raise ValueError(
            f"the digit lab asks for ten classes at most, and there are {model.classes}"
        )
    if not isinstance(name, str) or not name or name in NETWORKS:
        raise ValueError(f"name must be some text, and no shipped network's, got {name!r}")
    return engine.OwnNetwork(model, name)


def _told(own: engine.OwnNetwork) -> dict[str, Any]:
    """What the page must know before it asks for the network."""
    told = {key: own.about[key] for key in ("name", "classes", "shape")}
    names = list(own.model.names)
    return told | {"part": own.part, "names": names, "T": own.model.schedule.T}


@torch.no_grad()
def _first_drawn(own: engine.OwnNetwork) -> Tensor:
    """Six pictures of no class by a network of other pictures, as the page draws them first."""
    model, generator = own.model, RowGenerator(0, torch.arange(COUNT))
    settings = model.settled(DrawSettings(min(10, model.schedule.T), sampler="ddim"))
    return model.draw(COUNT, None, generator, settings, Compute(torch.device("cpu"))).x


def _usual(own: engine.OwnNetwork | None) -> dict[str, dict[str, Any]]:
    """Sampler and steps of the networks that have usual ones of their own, by name."""
    shipped = {name: cards.read_card(cards.pretrained_path(name)) for name in NETWORKS}
    usual = {name: card["usual"] for name, card in shipped.items() if "usual" in card}
    if own and own.model.usual != Usual():
        sampler, steps = own.model.usual
        usual[own.about["name"]] = {"sampler": sampler, "steps": min(steps, 1000)}
    return usual
