"""matplotlib figures without pyplot and without its global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from attnswitch.errors import MissingExtraError
from attnswitch.report.palette import Palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One unit of an SVG is one point: lengths in points are pixels where a page shows it unscaled.
_POINTS_PER_INCH = 72
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "attnswitch"}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def import_matplotlib() -> Any:
    """Import matplotlib.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report", "drawing plots") from error
    return matplotlib


def new_figure(width: float, height: float, palette: Palette) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` points with one bare pair of axes."""
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        size = (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
        figure = Figure(figsize=size, facecolor="none")
    return figure, add_axes(figure, palette)


def add_axes(figure: Figure, palette: Palette) -> Axes:
    """One more bare pair of axes on a figure."""
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(_SETTINGS):
        axes: Axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=11.5, labelcolor=palette.muted, pad=6)
    axes.set_axisbelow(True)
    return axes


def place_axes(
    figure: Figure,
    axes: Axes,
    *,
    left: float = 2,
    right: float = 14,
    top: float = 4,
    bottom: float = 26,
) -> None:
    """Set the margins around the axes, in points; no layout engine moves them afterwards."""
    width, height = figure.get_size_inches() * _POINTS_PER_INCH
    axes.set_position(
        (left / width, bottom / height, (width - left - right) / width,
         (height - top - bottom) / height)
    )  # fmt: skip


def svg_text(figure: Figure) -> str:
    """The figure as a standalone SVG document; the same figure gives the same text."""
    matplotlib = import_matplotlib()
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    held = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(held, metadata=_NO_METADATA)
    return held.getvalue()


def png_bytes(figure: Figure, dots_per_inch: int = 200) -> bytes:
    """The figure as a PNG picture."""
    matplotlib = import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    held = io.BytesIO()
    figure.set_dpi(dots_per_inch)
    with matplotlib.rc_context(_SETTINGS):
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(held, metadata={"Software": None})
    return held.getvalue()
