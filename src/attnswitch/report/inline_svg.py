"""A drawn figure made part of a page: it scales, follows light and dark, and shares no id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from attnswitch.report.figures import svg_text
from attnswitch.report.palette import LIGHT, css_names
from attnswitch.report.safe_text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMESPACE = re.compile(r"^\{[^}]*\}")
_REFERENCE = re.compile(r"url\(#")
_VARIABLES = css_names(LIGHT)
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """SVG to put into a page that defines the palette's CSS variables.

    `figure` is drawn in the light palette; `name` keeps its ids apart from other figures';
    `description` is read to those who cannot see it.
    """
    root = ElementTree.fromstring(svg_text(figure))
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {
            _NAMESPACE.sub("", key): _rewritten(_NAMESPACE.sub("", key), value, name)
            for key, value in element.attrib.items()
        }
    _drop_page_wide_styles(root)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": one_line(description, 200)}
    return ElementTree.tostring(root, encoding="unicode")


def _rewritten(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key == "style":
        value = _COLOUR.sub(lambda found: _VARIABLES.get(found[0], found[0]), value)
    return _REFERENCE.sub(f"url(#{name}-", value)


def _drop_page_wide_styles(root: ElementTree.Element) -> None:
    """A `style` element would apply to the whole page, and metadata holds addresses."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in ("style", "metadata"):
                parent.remove(child)
