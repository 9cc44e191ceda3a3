"""Python modules of a tree: parsing, import resolution, and what a name in a module means."""

from __future__ import annotations

import ast
import posixpath
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property

from attnswitch.source.records import Skipped
from attnswitch.source.search_path import added_folders
from attnswitch.source.tree import SourceFile, kind_of
from attnswitch.source.walking import Mentions, mentions_of, nested_blocks, target_names

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Symbol:
    """What a name stands for.

    kind is "function", "class", "module" (of the tree), "value" (bound by an assignment) or
    "external" (a dotted name outside the tree).
    """

    kind: str
    dotted: str
    module: Module | None = None
    node: ast.AST | None = None

    @cached_property
    def key(self) -> tuple[str, int]:
        """A hashable identity: file and line."""
        path = self.module.path if self.module else self.dotted
        return path, getattr(self.node, "lineno", 0)


@dataclass(frozen=True)
class Binding:
    """One statement at the top of a module that binds a name, with the tests around it."""

    node: ast.AST
    alias: ast.alias | None
    around: tuple[tuple[ast.AST, str], ...]


@dataclass(eq=False)
class Module:
    """One parsed Python file."""

    path: str
    text: str
    tree: ast.Module
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[ast.ImportFrom] = field(default_factory=list)

    @cached_property
    def folder(self) -> str:
        """The folder of the file, relative to the root."""
        return posixpath.dirname(self.path)

    @cached_property
    def imports_by_text(self) -> str | None:
        """The folder of `exec(f"from .models.{name} import {classes}")`, None if there is none."""
        match = _EXECUTED.search(self.text) if self.is_package else None
        if match is None:
            return None
        return posixpath.join(self.folder, match.group(1).replace(".", "/")).rstrip("/")

    @property
    def stem(self) -> str:
        """The path that it is imported under: its own without `.py`, or its package's folder."""
        return self.folder if self.is_package else self.path.removesuffix(".py")

    @property
    def name(self) -> str:
        """The last part of the name that it is imported under."""
        return posixpath.basename(self.stem)

    @cached_property
    def is_package(self) -> bool:
        """True for an `__init__.py`."""
        return posixpath.basename(self.path) == "__init__.py"

    @cached_property
    def is_notebook(self) -> bool:
        """True for the cells of a notebook."""
        return kind_of(self.path) == "notebook"

    def line(self, number: int) -> str:
        """The text of one line, stripped."""
        lines = self.text.splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _bind(module: Module, block: list[ast.stmt], around: tuple[tuple[ast.AST, str], ...]) -> None:
    for node in block:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            module.bindings.setdefault(node.name, []).append(Binding(node, None, around))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == "*" and isinstance(node, ast.ImportFrom):
                    module.stars.append(node)
                    continue
                name = alias.asname or alias.name.split(".")[0]
                if isinstance(node, ast.ImportFrom):
                    name = alias.asname or alias.name
                module.bindings.setdefault(name, []).append(Binding(node, alias, around))
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in target_names(target):
                    module.bindings.setdefault(name, []).append(Binding(node, None, around))
        else:
            for part, inner in nested_blocks(node):
                _bind(module, inner, (*around, (node, part)))


def parse(file: SourceFile) -> Module | Skipped:
    """Parse one Python file; anything that is not Python 3 comes back as a reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.text)
    except SyntaxError as error:
        return Skipped(file.path, _syntax_reason(file.text, error))
    except (ValueError, RecursionError, MemoryError) as error:
        return Skipped(file.path, f"cannot be parsed: {type(error).__name__}")
    module = Module(file.path, file.text, tree)
    try:
        _bind(module, tree.body, ())
    except RecursionError:
        return Skipped(file.path, "cannot be parsed: nested too deeply")
    return module


_PYTHON_2 = re.compile(
    r"^\s*(print\s+[^(=\s]|exec\s+['\"]|raise\s+\w+\s*,|except\s+\w+\s*,\s*\w+:)", re.M
)


def _syntax_reason(text: str, error: SyntaxError) -> str:
    if _PYTHON_2.search(text):
        return f"Python 2 (line {error.lineno}: {error.msg})"
    return f"syntax error in line {error.lineno}: {error.msg}"


#: An import that a package puts together as text, and the subpackage that it reads from.
_EXECUTED = re.compile(r"exec\(\s*f[\"']from \.((?:\w+\.)*)\{\w+\} import")


class Project:
    """All modules of a tree, and the lookups between them."""

    def __init__(self, modules: list[Module], package: str = ""):
        """`package` is the dotted name of the root, where the root is a package itself."""
        self.package = package
        #: YAML and JSON files by path; what is known to load a model; what `python -m` starts.
        self.data: dict[str, SourceFile] = {}
        self.loading: dict[tuple[str, int], bool] = {}
        self.started_as_modules: set[str] = set()
        self.modules = {m.path: m for m in modules}
        self._by_tail: dict[str, list[Module]] = {}
        self._folders: dict[str, list[Module]] = {}
        for module in modules:
            self._folders.setdefault(module.folder, []).append(module)
            self._by_tail.setdefault(module.name, []).append(module)
        self._added = self._search_paths()
        self._found: dict[tuple[str, str], Module | None] = {}
        self._resolved: dict[tuple[str, str], Symbol | None] = {}
        self._mentions: dict[ast.AST, Mentions] = {}
        self._imports: dict[str, dict[str, tuple[ast.AST, ast.alias]]] = {}

    def mentions(self, node: ast.AST) -> Mentions:
        """What a function, class or statement names; kept, since several passes ask."""
        found = self._mentions.get(node)
        if found is None:
            found = self._mentions[node] = mentions_of(node)
        return found

    def find_module(self, importer: str, dotted: str) -> Module | None:
        """Find the file that `import dotted` in the folder `importer` would load."""
        key = (importer, dotted)
        if key not in self._found:
            self._found[key] = self._search(importer, dotted)
        return self._found[key]

    def _search(self, importer: str, dotted: str) -> Module | None:
        if self.package and (dotted + ".").startswith(self.package + "."):
            return self.module_at(dotted[len(self.package) + 1 :].replace(".", "/"))
        tail = dotted.replace(".", "/")
        folder = importer
        while True:
            for candidate in (f"{tail}/__init__.py", f"{tail}.py"):  # as Python prefers them
                module = self.modules.get(posixpath.join(folder, candidate))
                if module:
                    return module
            if not folder:
                break
            folder = posixpath.dirname(folder)
        for added in self._added.get(importer, ()):
            module = self.module_at(posixpath.join(added, tail))
            if module:
                return module
        if "." not in dotted:
            return None
        return self._nearest(importer, tail)

    def _search_paths(self) -> dict[str, list[str]]:
        """The folders that the modules of each folder add to the path of imports."""
        found: dict[str, list[str]] = {}
        for module in self.modules.values():
            added = added_folders(module.text, module.folder, self._folders)
            if added:
                found.setdefault(module.folder, []).extend(added)
        return found

    def _nearest(self, importer: str, tail: str) -> Module | None:
        """A package below a source root that is no parent of the importer (src/, lib/ ...)."""
        matches = []
        for module in self._by_tail.get(posixpath.basename(tail), ()):
            stem = module.stem
            if stem.endswith("/" + tail) and self._is_root(stem[: -len(tail) - 1], tail):
                shared = len(posixpath.commonprefix([stem + "/", importer + "/"]))
                matches.append((-shared, len(stem), stem, module))
        return min(matches, key=lambda m: m[:3])[3] if matches else None

    def _is_root(self, root: str, tail: str) -> bool:
        return f"{root}/__init__.py" not in self.modules or "/" not in tail

    def absolute(self, module: Module, node: ast.ImportFrom) -> str | None:
        """For `from .x import y` return the folder path of `.x`, else None."""
        if not node.level:
            return None
        folder = module.folder
        for _ in range(node.level - 1):
            folder = posixpath.dirname(folder)
        return posixpath.join(folder, (node.module or "").replace(".", "/")).rstrip("/")

    def module_at(self, stem: str) -> Module | None:
        """The module at a path without its suffix; a package comes before a file, as in Python."""
        return self.modules.get(posixpath.join(stem, "__init__.py")) or self.modules.get(
            f"{stem}.py"
        )

    def imported_from(self, module: Module, node: ast.ImportFrom) -> Module | None:
        """The module of the tree that `from … import` reads from."""
        stem = self.absolute(module, node)
        if stem is not None:
            return self.module_at(stem)
        return self.find_module(module.folder, node.module or "")

    def import_symbol(self, module: Module, node: ast.AST, alias: ast.alias) -> Symbol | None:
        """What an import statement binds."""
        if isinstance(node, ast.Import):
            name = alias.name if alias.asname else alias.name.split(".")[0]
            found = self.find_module(module.folder, name)
            if found is None and self.find_module(module.folder, alias.name):
                return Symbol("external", name)  # a namespace package of the tree
            return Symbol("module", name, found) if found else Symbol("external", name)
        assert isinstance(node, ast.ImportFrom)
        source = self.imported_from(module, node)
        if source is not None:
            symbol = self.resolve(source, alias.name)
            if symbol is not None:
                return symbol
        inner = self._submodule(module, node, alias.name)
        if inner is not None:
            return Symbol("module", alias.name, inner)
        if source is not None or node.level:
            return None
        return Symbol("external", f"{node.module}.{alias.name}")

    def loaded_by(self, module: Module, node: ast.Import | ast.ImportFrom) -> list[Module]:
        """The modules of the tree that an import statement loads."""
        found: list[Module | None] = []
        if isinstance(node, ast.Import):
            found = [self.find_module(module.folder, alias.name) for alias in node.names]
        else:
            found = [self.imported_from(module, node)]
            found += [self._submodule(module, node, alias.name) for alias in node.names]
        return [m for m in found if m is not None]

    def _submodule(self, module: Module, node: ast.ImportFrom, name: str) -> Module | None:
        stem = self.absolute(module, node)
        if stem is not None:
            return self.module_at(posixpath.join(stem, name))
        return self.find_module(module.folder, f"{node.module}.{name}")

    def resolve(self, module: Module, name: str) -> Symbol | None:
        """What a top-level name of a module stands for, through re-exports."""
        key = (module.path, name)
        if key not in self._resolved:
            self._resolved[key] = None  # ends circles of imports
            self._resolved[key] = self._resolve(module, name)
        return self._resolved[key]

    def _resolve(self, module: Module, name: str) -> Symbol | None:
        for binding in reversed(module.bindings.get(name, ())):
            node = binding.node
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return Symbol("function", name, module, node)
            if isinstance(node, ast.ClassDef):
                return Symbol("class", name, module, node)
            if binding.alias is not None:
                return self.import_symbol(module, node, binding.alias)
            return Symbol("value", name, module, node)
        for star in module.stars:
            source = self.imported_from(module, star)
            if source is not None and source is not module:
                symbol = self.resolve(source, name)
                if symbol is not None:
                    return symbol
        for source in self.imported_by_text(module):
            if any(b.alias is None for b in source.bindings.get(name, ())):
                return self.resolve(source, name)
        return None

    def imported_by_text(self, module: Module) -> list[Module]:
        """The modules whose imports a package puts together as text."""
        folder = module.imports_by_text
        return [] if folder is None else [m for m in self.in_folder(folder) if m is not module]

    def in_folder(self, folder: str) -> list[Module]:
        """The modules that lie directly in a folder."""
        return self._folders.get(folder, [])

    def attribute(self, module: Module, name: str) -> Symbol | None:
        """`module.name`: a binding of it, or a submodule."""
        symbol = self.resolve(module, name)
        if symbol is None and module.is_package:
            inner = self.module_at(posixpath.join(module.folder, name))
            if inner:
                return Symbol("module", name, inner)
        return symbol

    def resolve_dotted(self, module: Module, node: ast.AST) -> Symbol | None:
        """What an expression like `a.b.c` stands for at the top of a module."""
        if isinstance(node, ast.Name):
            return self.resolve(module, node.id)
        if isinstance(node, ast.Attribute):
            base = self.resolve_dotted(module, node.value)
            if base is None:
                return None
            if base.kind == "module" and base.module:
                return self.attribute(base.module, node.attr)
            if base.kind == "external":
                full = f"{base.dotted}.{node.attr}"
                found = self.find_module(module.folder, full)
                return Symbol("module", full, found) if found else Symbol("external", full)
            if base.kind == "class" and isinstance(base.node, ast.ClassDef):
                method = find_method(base.node, node.attr)
                if method:
                    return Symbol("function", f"{base.dotted}.{node.attr}", base.module, method)
        return None

    def resolve_anywhere(self, module: Module, node: ast.AST) -> Symbol | None:
        """As `resolve_dotted`; a bare name may also be imported inside a function."""
        symbol = self.resolve_dotted(module, node)
        if symbol is not None or not isinstance(node, ast.Name):
            return symbol
        found = self._imports_of(module).get(node.id)
        return self.import_symbol(module, *found) if found else None

    def _imports_of(self, module: Module) -> dict[str, tuple[ast.AST, ast.alias]]:
        """What any import of a module binds, also inside functions."""
        if module.path not in self._imports:
            self._imports[module.path] = {
                alias.asname or alias.name: (statement, alias)
                for statement in self.mentions(module.tree).imports
                for alias in statement.names
            }
        return self._imports[module.path]


def find_method(node: ast.ClassDef, name: str) -> FunctionNode | None:
    """The method of this name in a class body."""
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == name:
            return item
    return None


def dotted_text(node: ast.AST) -> str:
    """`a.b.c` for a chain of names and attributes; calls and subscripts are passed through."""
    tail = ""
    while True:
        if isinstance(node, ast.Name):
            return node.id + tail
        if isinstance(node, ast.Attribute):
            tail = f".{node.attr}{tail}"
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return tail[1:]
