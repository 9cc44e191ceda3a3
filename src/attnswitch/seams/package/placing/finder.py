"""The import finder: a stand-in where the package is missing, a second chance where it breaks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from attnswitch.seams.package.placing import replacing
from attnswitch.seams.package.placing.activations import (
    Activation,
    asked_by_us,
    calling_frame,
    is_probe,
    line_of,
    note,
)
from attnswitch.seams.package.placing.exports import BREAKABLE, MODULES, ROOTS
from attnswitch.seams.package.placing.stand_in import fill, is_stand_in, stand_in_spec


class PackageFinder(MetaPathFinder):
    """Answers for `flash_attn` and `xformers` ahead of the other finders.

    It has no `find_distributions`: importlib.metadata goes on telling the truth.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a stand-in, of the package itself with a watched loader, or None."""
        root = fullname.partition(".")[0]
        if root not in ROOTS or asked_by_us():
            return None
        if fullname == root:
            return self._root_spec(root, path, target)
        parent = sys.modules.get(fullname.rpartition(".")[0])
        if is_stand_in(parent):
            return self._submodule_spec(fullname, path, target)
        return self._watched(fullname, path, target) if fullname in replacing.MODULES else None

    def _root_spec(self, root: str, path: Any, target: Any) -> ModuleSpec | None:
        real = self._ask_others(root, path, target)
        if real is not None and real.origin is not None and real.loader is not None:
            real.loader = SecondChance(real.loader)
            return real
        because = f"the package {root} is not installed"
        if is_probe():
            note(Activation(root, root, "probe", line_of(calling_frame()), because))
        # A folder of this name without an __init__ (flash_attn.cute alone) stays reachable.
        search = list(real.submodule_search_locations or ()) if real is not None else []
        return stand_in_spec(root, because, search)

    def _submodule_spec(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        because = sys.modules[name.rpartition(".")[0]].__dict__["_because"]
        if name in MODULES:
            return stand_in_spec(name, because)
        if is_probe() or self._ask_others(name, path, target) is not None:
            return None
        root = name.partition(".")[0]
        raise ModuleNotFoundError(
            f"{name} is not implemented by attnswitch, whose stand-in for {root} this is "
            f"({because})",
            name=name,
        )

    def _watched(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        """A submodule of a package that works: its functions are replaced once it is loaded."""
        real = self._ask_others(name, path, target)
        if real is not None and real.loader is not None:
            real.loader = SecondChance(real.loader)
        return real

    def _ask_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            found = find(name, path, target)
            if found is not None:
                return found
        return None


class SecondChance(Loader):
    """Loads a module of the package; where that fails, makes it a stand-in with the cause."""

    def __init__(self, real: Any):
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """What the package's own loader creates."""
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the package's own code; on failure of its root, stand in for it.

        Raises:
            Exception: the failure of a module that is not stood in for, unchanged.
        """
        name = module.__name__
        _forget_watching(module, self._real)
        try:
            self._real.exec_module(module)
        except Exception as error:
            if name not in BREAKABLE:
                raise
            because = f"the package {name} is installed but does not import: {_in_words(error)}"
            where = line_of(calling_frame())
            _empty(module)
            fill(module, because)
            note(Activation(name.partition(".")[0], name, "import", where, because))
        else:
            replacing.replace(name)


def _forget_watching(module: ModuleType, real: Any) -> None:
    """Let the module show its own loader, as without us."""
    module.__loader__ = real
    if module.__spec__ is not None:
        module.__spec__.loader = real


def _empty(module: ModuleType) -> None:
    """Take away what a failed import left: names in the module, and submodules."""
    for name in [n for n in sys.modules if n.startswith(module.__name__ + ".")]:
        del sys.modules[name]
    keep = ("__name__", "__spec__", "__loader__", "__package__", "__builtins__")
    for name in [n for n in module.__dict__ if n not in keep]:
        del module.__dict__[name]
    module.__path__ = []


def _in_words(error: Exception) -> str:
    return str(error) or type(error).__name__
