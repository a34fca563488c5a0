"""How far a stored picture may be from the exact one."""

from diffusion_lessons.page.kit.packing import LEVELS


def half_a_level(levels: int = LEVELS) -> float:
    """Of greys in -1..1: half a level, and half of a byte, to which that is rounded."""
    return 1 / (levels - 1) + 1 / 255 + 1e-6


STORED = 127.5 * half_a_level()
"""The same of greys in 0..255, as a page shows them."""
