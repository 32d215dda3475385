"""Figures of matplotlib as arrays: without pyplot, in settings of our own, and what is said where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

Color = tuple[float, float, float]

INSTALL = 'pip install "sammed2d[plots]"'
SCREEN_SCALE = 2  # px of a picture for each of 1/100 inch, for screens of high resolution
DPI = 100 * SCREEN_SCALE
TEXT_PT = 10.0
_CUT = "\N{HORIZONTAL ELLIPSIS}"


class PlotsError(ValueError):
    """Something is to be drawn, and matplotlib cannot be imported."""


def missing() -> str:
    """Why nothing with text can be drawn, and what to do; empty where matplotlib works."""
    try:
        import matplotlib  # first: its parts may be loaded already
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        name = error.name or "matplotlib"
        return f"{name.partition('.')[0]} is not installed: {INSTALL}"
    except ImportError as error:
        return f"matplotlib cannot be imported ({' '.join(str(error).split())}): {INSTALL} --force-reinstall"
    return ""


def require() -> None:
    """Find out before any work whether pictures can be drawn after it.

    Raises:
        PlotsError: they cannot.
    """
    if reason := missing():
        raise PlotsError(f"pictures are drawn by matplotlib; {reason}")


@contextmanager
def own_settings() -> Iterator[None]:
    """The settings of matplotlib itself, whatever the user's file of settings says."""
    import matplotlib

    kept = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with matplotlib.rc_context(kept):
        yield


def new_figure(size_hw: tuple[int, int], color: Color | None = None, *, fits_itself: bool = False) -> Figure:
    """An empty figure.

    Args:
        size_hw: of its picture, px.
        color: behind everything; None where it is drawn over a picture.
        fits_itself: axes leave room for their labels, titles and legends.

    Raises:
        PlotsError: there is no matplotlib.
    """
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = size_hw
    inches = ((width + 1e-6) / DPI, (height + 1e-6) / DPI)  # a size is cut, not rounded, to pixels
    figure = Figure(inches, dpi=DPI, facecolor=color or "none", layout="constrained" if fits_itself else None)
    FigureCanvasAgg(figure)
    return figure


def pixels(figure: Figure) -> np.ndarray:
    """What a figure looks like, (H, W, 3) uint8."""
    return _rendered(figure)[..., :3].copy()


def draw_over(picture: np.ndarray, figure: Figure) -> None:
    """Draw a figure of no colour over a picture of its size, which keeps every other pixel as it is.

    Args:
        picture: (H, W, 3) uint8; changed.
        figure: see `new_figure`.
    """
    drawn = _rendered(figure)
    there = drawn[..., 3] > 0
    ink = drawn[there].astype(np.float32)
    opacity = ink[:, 3:] / 255
    picture[there] = np.rint(ink[:, :3] * opacity + picture[there] * (1 - opacity)).astype(np.uint8)


def _rendered(figure: Figure) -> np.ndarray:
    canvas = _canvas(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _canvas(figure: Figure) -> FigureCanvasAgg:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    assert isinstance(figure.canvas, FigureCanvasAgg)
    return figure.canvas


def plain(text: str) -> str:
    """Text as it is to be read: no formulas, and "?" for letters that the font lacks."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(letter if letter == "\n" or ord(letter) in known else "?" for letter in text)
    return shown.replace("$", r"\$")


def text_width(figure: Figure, text: str, size_pt: float = TEXT_PT) -> float:
    """How wide a line of text is drawn, px.

    Args:
        figure: that it would be drawn on.
        text: one line.
        size_pt: of the letters, pt.
    """
    from matplotlib.font_manager import FontProperties

    shown = plain(text).replace(r"\$", "$")
    return _canvas(figure).get_renderer().get_text_width_height_descent(shown, FontProperties(size=size_pt), False)[0]


def fitting(figure: Figure, text: str, width_px: float, size_pt: float = TEXT_PT) -> str:
    """A line of text, cut where it would be wider than so many px; an ellipsis marks the cut.

    Args:
        figure: that it is drawn on.
        text: one line.
        width_px: most that it may take.
        size_pt: of the letters, pt.
    """
    if text_width(figure, text, size_pt) <= width_px:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(figure, text[:middle].rstrip() + _CUT, size_pt) <= width_px
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + _CUT if low else ""
