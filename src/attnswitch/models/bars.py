"""transformers' progress bars, drawn on a terminal only: in a file or a log they are noise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_on_a_terminal() -> Iterator[None]:
    """No bar of transformers or the hub inside the block, unless standard error is a terminal."""
    from transformers.utils import logging

    if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
