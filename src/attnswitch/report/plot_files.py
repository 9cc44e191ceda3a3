"""A plot as a PNG or SVG file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attnswitch.errors import InputError
from attnswitch.report.atomic_file import write_atomically
from attnswitch.report.figures import png_bytes, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_plot(figure: Figure, path: str | Path, paper: str = "none") -> Path:
    """Write `figure` as the format that the name of `path` ends in, and return the path.

    `paper` is the background colour; the page's own is `palette.paper`.

    Raises:
        InputError: the name ends neither in .png nor in .svg, or its folder does not exist.
    """
    path = Path(path)
    figure.set_facecolor(paper)
    if path.suffix.lower() == ".png":
        return write_atomically(path, png_bytes(figure))
    if path.suffix.lower() == ".svg":
        return write_atomically(path, svg_text(figure).encode())
    raise InputError(f"cannot save a plot as {path.name!r}: the name must end in .png or .svg")
