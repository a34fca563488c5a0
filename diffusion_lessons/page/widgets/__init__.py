"""Interactive pictures for the lessons: anywidget classes that answer in the browser itself.

Everything that follows from the sliders alone is computed in the page, and what needs a network is
computed beforehand, so both work the same with a kernel, without one, and in a published book.
"""

from .. import kit as _kit
from .attention import AttentionExplorer as AttentionExplorer
from .bound import BoundExplorer as BoundExplorer
from .ddgan import DDGANStepper as DDGANStepper
from .digit_lab import DigitLab as DigitLab
from .discriminator import DiscriminatorExplorer as DiscriminatorExplorer
from .film import FilmPlayer as FilmPlayer
from .final_test import FinalTest as FinalTest
from .forward import ForwardExplorer as ForwardExplorer
from .guidance import GuidanceExplorer as GuidanceExplorer
from .interpolation import InterpolationExplorer as InterpolationExplorer
from .latent import LatentExplorer as LatentExplorer
from .multimodal import MultimodalExplorer as MultimodalExplorer
from .paths import PathsExplorer as PathsExplorer
from .plane import PlaneLab as PlaneLab
from .posterior import PosteriorExplorer as PosteriorExplorer
from .prediction import PredictionExplorer as PredictionExplorer
from .schedule import ScheduleExplorer as ScheduleExplorer
from .solvers import SolverExplorer as SolverExplorer
from .steps import StepsExplorer as StepsExplorer
from .trajectory import TrajectoryPlayer as TrajectoryPlayer
from .trilemma import TrilemmaExplorer as TrilemmaExplorer
from .truncation import TruncationExplorer as TruncationExplorer
from .unet import UNetExplorer as UNetExplorer
from .vector import VectorExplorer as VectorExplorer

# A line above is all that names a widget: type checkers and editors read `X as X` as a name passed
# on, everybody else reads this list.
__all__ = [
    name
    for name, thing in list(globals().items())
    if isinstance(thing, type) and issubclass(thing, _kit.Explorer)
]
