"""The templates of pages: everything is escaped, and made safe to show, before it is put in."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from attnswitch.errors import MissingExtraError
from attnswitch.report.palette import DARK, LIGHT, css_variables
from attnswitch.report.quantities import bytes_text, count_text, error_text, seconds_text
from attnswitch.report.safe_text import one_line, visible

_FOLDER = Path(__file__).parent / "templates"


def render(template: str, **content: Any) -> str:
    """Fill a template of this package.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    page: str = _environment().get_template(template).render(**content)
    return page


def markup(text: str) -> Any:
    """Mark text that this package itself produced, so that templates do not escape it.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    _environment()
    from markupsafe import Markup

    return Markup(text)


def stylesheet() -> str:
    """The stylesheet of pages with both palettes."""
    css = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return css.replace("/* light */", css_variables(LIGHT)).replace(
        "/* dark */", css_variables(DARK)
    )


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "writing an HTML report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "seconds": seconds_text,
        "bytes": bytes_text,
        "error": error_text,
        "one_line": one_line,
        "count": count_text,
    }
    return environment


def _shown(value: Any) -> Any:
    """What a template prints: markup made by this package stays, all other text is cleaned."""
    return value if value is None or hasattr(value, "__html__") else visible(value)
