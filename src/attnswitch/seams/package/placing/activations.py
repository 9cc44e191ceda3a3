"""Which imports got a stand-in, and from which line of which file."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any, Literal

Kind = Literal["import", "probe", "name", "replaced"]
# Machinery between the line that imports and us; never the line itself.
_MACHINERY = ("importlib", "attnswitch.", "wrapt.")


@dataclass(frozen=True)
class Activation:
    """One place where a package's stand-in, or a replaced function, was handed out.

    `kind` is "import" (a module was imported), "probe" (it was looked for, with
    importlib.util.find_spec), "name" (a function was taken out of it) or "replaced" (a function of
    the working package was replaced). `where` is file:line; `because` says why the package itself
    is not used.
    """

    package: str
    name: str
    kind: Kind
    where: str
    because: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


activations: list[Activation] = []
_known: set[Activation] = set()


def note(activation: Activation) -> None:
    """Keep an activation; the same one from the same line is kept once."""
    if activation not in _known:
        _known.add(activation)
        activations.append(activation)


def calling_frame() -> FrameType | None:
    """The innermost frame that is neither ours nor import machinery."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _module_of(frame).startswith(_MACHINERY):
        frame = frame.f_back
    return frame


def asked_by_us() -> bool:
    """Whether the import that is going on was written in attnswitch itself."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = _module_of(frame)
        if not module.startswith(("importlib", "attnswitch.seams.package")):
            return module.startswith("attnswitch.")
        frame = frame.f_back
    return False


def is_probe() -> bool:
    """Whether a spec is looked for without an import (importlib.util.find_spec)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _module_of(frame).startswith(_MACHINERY):
        if frame.f_code.co_name == "find_spec" and _module_of(frame) == "importlib.util":
            return True
        frame = frame.f_back
    return False


def line_of(frame: FrameType | None) -> str:
    """A frame's place as file:line."""
    return "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
