"""What every widget is made of: a base class, checks, packing, pieces of the fallback picture.

``from diffusion_lessons.page import kit`` is all that a widget needs of it. Each part has a theme;
the scripts and styles beside them are the same kit on the page's side.
"""

from .checking import are_pictures as are_pictures
from .checking import as_float as as_float
from .checking import check_batch as check_batch
from .checking import check_denoiser as check_denoiser
from .checking import check_labels as check_labels
from .checking import check_pictures as check_pictures
from .checking import check_points as check_points
from .checking import check_seed as check_seed
from .computed import Computed as Computed
from .computed import Part as Part
from .computed import as_noise as as_noise
from .computed import draw_noise as draw_noise
from .computed import generator_for as generator_for
from .computed import store_ahead as store_ahead
from .explorer import Explorer as Explorer
from .explorer import Kit as Kit
from .explorer import files as files
from .figures import draw_axes as draw_axes
from .figures import draw_picture as draw_picture
from .figures import new_figure as new_figure
from .figures import ring as ring
from .figures import show_picture as show_picture
from .figures import tiled as tiled
from .networks import Decode as Decode
from .networks import Guided as Guided
from .networks import calls_heard as calls_heard
from .networks import decoder_behind as decoder_behind
from .networks import guidance_behind as guidance_behind
from .networks import labels_behind as labels_behind
from .networks import network_behind as network_behind
from .networks import shipped_name as shipped_name
from .packing import as_bytes as as_bytes
from .packing import as_kept as as_kept
from .packing import pack as pack
from .packing import pack_files as pack_files
from .packing import pack_greys as pack_greys
from .packing import unpack as unpack
from .packing import unpack_files as unpack_files
from .packing import unpack_greys as unpack_greys
from .packing import with_channel as with_channel
