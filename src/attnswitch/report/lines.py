"""Lines on a terminal, wrapped at words and indented."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

LABEL = 9  # the width of `Verdict` and what follows it


def labelled(console: Console, label: str, body: Text) -> None:
    """Print `label` once and `body` beside it; nothing where `body` is empty."""
    print_line(console, body, LABEL, f"{label:<{LABEL}}")


def print_line(console: Console, line: Text, indent: int = 0, first: str = "") -> None:
    """Print `line` wrapped at words and indented; `first` stands in the first line's margin."""
    if not line.plain:
        return
    for number, piece in enumerate(line.wrap(console, max(console.width - indent, 20), tab_size=4)):
        piece.rstrip()
        margin = Text(" " * indent if number or not first else first)
        whole = margin.append_text(piece) if piece.plain else Text()
        console.print(whole, highlight=False, soft_wrap=True)
