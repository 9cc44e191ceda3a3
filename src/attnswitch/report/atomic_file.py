"""Write a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from attnswitch.errors import InputError

_USUAL_MODE = 0o666


def check_target(path: Path) -> None:
    """Raise InputError where no file can be put at `path`, before any work is done for it."""
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write `content` to a file beside `path`, then move it there; returns the path.

    Raises:
        InputError: the folder does not exist, or the file cannot be written there.
    """
    path = Path(path)
    check_target(path)
    try:
        _write_and_move(path, content)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    return path


def _write_and_move(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp gives 0600; a report is readable as any new file is.
        os.chmod(name, _USUAL_MODE & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
