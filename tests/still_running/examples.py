"""Run the examples of docs/still-running.md, and put them and their output into the page.

python -m tests.still_running.examples        writes the page anew
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "still-running.md"
FOLDER = DOCS / "examples" / "still_running"
# Where the page holds an example: between these two comments.
_PLACE = re.compile(r"(<!-- example (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def names() -> list[str]:
    return sorted(path.name for path in FOLDER.glob("[0-9]*.py"))


def output_of(name: str) -> str:
    """What the example prints. It runs as a module of its own, in this process."""
    module_name = f"still_running_example_{name.partition('_')[0]}"
    spec = importlib.util.spec_from_file_location(module_name, FOLDER / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec.loader.exec_module(module)
    finally:
        del sys.modules[module_name]
    return printed.getvalue().strip() + "\n"


def names_in(page: str) -> list[str]:
    return [match[2] for match in _PLACE.finditer(page)]


def with_examples(page: str, outputs: dict[str, str]) -> str:
    """The page with each example's code and output in its place."""

    def block(match: re.Match) -> str:
        code = (FOLDER / match[2]).read_text().strip()
        shown = f"```python\n{code}\n```\n\n```text\n{outputs[match[2]]}```"
        return f"{match[1]}\n{shown}\n\n{match[3]}"

    return _PLACE.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(with_examples(PAGE.read_text(), {name: output_of(name) for name in names()}))
