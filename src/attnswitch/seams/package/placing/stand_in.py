"""Stand-in modules: what an import gives where a package is missing or broken."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from attnswitch.seams.package.placing.activations import Activation, calling_frame, line_of, note
from attnswitch.seams.package.placing.exports import (
    ALIASES,
    MODULES,
    PACKAGES,
    VERSIONS,
    implementation,
)


class StandIn(ModuleType):
    """A module that notes who takes a function out of it."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            _note_name(super().__getattribute__("__dict__"), name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self.__name__}.{name} is not implemented by attnswitch, whose stand-in for "
            f"{self.__name__.partition('.')[0]} this is ({self.__dict__['_because']})"
        )


def _note_name(contents: dict[str, Any], name: str) -> None:
    if name in contents and name in contents.get("__all__", ()):
        module = contents["__name__"]
        where = line_of(calling_frame())
        because = contents["_because"]
        note(Activation(module.partition(".")[0], f"{module}.{name}", "name", where, because))


def fill(module: ModuleType, because: str) -> None:
    """Make `module` a stand-in: its functions, version, and why it stands here."""
    name = module.__name__
    module.__class__ = StandIn
    contents = module.__dict__
    contents["__doc__"] = f"attnswitch's stand-in for {name}: {because}."
    # Python names this file where somebody imports a name that is not here.
    contents["__file__"] = __file__
    contents["_because"] = because
    if name in VERSIONS:
        contents["__version__"] = VERSIONS[name]
    found = {each: implementation(home, each) for each, home in MODULES[name].items()}
    aliases = {alias: found[each] for alias, each in ALIASES.get(name, {}).items()}
    contents.update(found, **aliases)
    contents["__all__"] = [*found, *aliases]
    for submodule in PACKAGES.get(name, ()):
        importlib.import_module(submodule)


class StandInLoader(Loader):
    """Loads a stand-in; `because` says why the package itself is not used."""

    def __init__(self, because: str):
        self.because = because

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty stand-in."""
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Fill it, and note who imported it."""
        fill(module, self.because)
        where = line_of(calling_frame())
        name = module.__name__
        note(Activation(name.partition(".")[0], name, "import", where, self.because))


def stand_in_spec(name: str, because: str, search: list[str] | None = None) -> ModuleSpec:
    """The spec of a stand-in; `search` are folders where other submodules may be found."""
    spec = ModuleSpec(name, StandInLoader(because), is_package=name in PACKAGES)
    if name in PACKAGES:
        spec.submodule_search_locations = search or []
    return spec


def is_stand_in(module: Any) -> bool:
    """Whether a module in sys.modules is one of ours."""
    return isinstance(module, StandIn)


def remove_all(root: str) -> None:
    """Take a package's stand-ins out of sys.modules; names imported from them live on."""
    for name in [n for n in sys.modules if n == root or n.startswith(root + ".")]:
        module = sys.modules[name]
        if is_stand_in(module):
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            contents = getattr(sys.modules.get(parent), "__dict__", {})
            if contents.get(child) is module:
                del contents[child]
