"""Imports of flash_attn and xformers: at the top of a module, guarded, or inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.mechanisms.place import (
    Place,
    availability_test,
    catches_import_errors,
    imports_kernel,
)
from attnswitch.source.project import Module
from attnswitch.source.records import Finding

NODES = (ast.Import, ast.ImportFrom)


def detect(node: ast.AST, place: Place) -> Iterator[Finding]:
    """Yield a finding for an import that needs a kernel package, directly or through the tree."""
    name, target = _package(node)
    if target is None:
        yield from _local(node, place)
        return
    # The rest of flash_attn (rotary, rms_norm, losses) is no attention; it still must import.
    how = guard_of(node, place)
    xformers = target == "xformers"
    if how == "top":
        yield place.finding(
            node,
            "xformers" if xformers else "unguarded-import",
            "requires",
            f"imports {name} whenever this module is imported: without the package the module "
            "fails, also when the kernel is switched off",
            target=target,
            trap="unguarded import",
            fixed=not xformers,
        )
        return
    where = {
        "guarded": "imports {} if it is there; nothing fails without it",
        "tested": "imports {} only after a test that it is there",
        "lazy": "imports {} when the function is called, not when the module is",
    }[how]
    mechanism = "lazy-import" if how == "lazy" else "guarded-import"
    yield place.finding(
        node, "xformers" if xformers else mechanism, "imports", where.format(name), target=target
    )


def _package(node: ast.AST) -> tuple[str, str | None]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            target = words.package_target(alias.name)
            if target:
                return alias.name, target
        return "", None
    assert isinstance(node, ast.ImportFrom)
    if node.level:
        return "", None
    return node.module or "", words.package_target(node.module or "")


def guard_of(node: ast.AST, place: Place) -> str:
    """How an import is protected: "top" (not at all), "guarded", "tested" or "lazy"."""
    if any(catches_import_errors(t) for t in place.tries(node)):
        return "guarded"
    if any(place_test_guards(test) for test, _ in place.tests(node)):
        return "tested"
    return "lazy" if place.function is not None else "top"


def place_test_guards(test: ast.expr) -> bool:
    """True for `if available():`, and for any other test but the Python version."""
    return availability_test(test) or "sys.version" not in ast.unparse(test)


def _for_types(node: ast.AST, place: Place) -> bool:
    """True below `if TYPE_CHECKING:`, which never runs."""
    return any("TYPE_CHECKING" in ast.unparse(test) for test, _ in place.tests(node))


def needs_kernel(module: Module) -> str | None:
    """Return flash or xformers if importing this module fails without that package."""
    for statement in module.tree.body:
        if imports_kernel(statement):
            return _package(statement)[1]
        if isinstance(statement, ast.Try) and not catches_import_errors(statement):
            for inner in statement.body:
                if imports_kernel(inner):
                    return _package(inner)[1]
    return None


def _local(node: ast.AST, place: Place) -> Iterator[Finding]:
    """`try: from .flash_attention import FlashAttention`: a guard one file further up."""
    if not isinstance(node, ast.ImportFrom):
        return
    source = place.project.imported_from(place.module, node)
    if source is None or source is place.module:
        return
    target = needs_kernel(source)
    how = guard_of(node, place) if target else ""
    if target == "flash" and how == "top":
        yield place.finding(
            node,
            "unguarded-import",
            "requires",
            f"imports {source.path}, which fails without flash_attn",
            trap="unguarded import",
        )
    if target and how == "guarded":
        yield place.finding(
            node,
            "xformers" if target == "xformers" else "guarded-import",
            "imports",
            f"imports {source.path}, which needs {target}; nothing fails without it",
            target=target,
        )
    if target == "flash" and how in {"lazy", "tested"} and not _for_types(node, place):
        when = "after a test" if how == "tested" else "when the function is called"
        yield place.finding(
            node,
            "guarded-import" if how == "tested" else "lazy-import",
            "imports",
            f"imports {source.path}, which needs flash_attn, {when}",
        )
