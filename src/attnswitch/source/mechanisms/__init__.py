"""One detector a mechanism: each looks at one syntax node and yields findings, never verdicts.

A detector module has `NODES`, the node types it wants, and `detect(node, place)`. The table
below is the whole registry.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from attnswitch.source.mechanisms import (
    asserts,
    calls,
    environment,
    imports,
    keywords,
    options,
    patches,
    presence,
    registries,
    unreachable,
    writes,
)
from attnswitch.source.mechanisms.place import Place
from attnswitch.source.project import Module, Project
from attnswitch.source.records import Finding
from attnswitch.source.walking import children

DETECTORS = (
    imports,
    keywords,
    options,
    writes,
    patches,
    calls,
    registries,
    environment,
    asserts,
    presence,
    unreachable,
)

#: A file without any of these words, in lower case, cannot hold a finding; most files are
#: settled here. Plain words, because searching for one is many times quicker than a pattern.
_WORDS = (
    *("flash", "attn", "xformers", "sdpa", "scaled_dot_product", "sdp_kernel", "_sdp", "nvte_"),
    *("attention_impl", "attentionimpl", "attention_backend", "attention_classes"),
    *("attention_functions", "memory_efficient_attention", "bettertransformer"),
    *("attention.forward", "attention_mask ="),
)
#: Nodes without children that matter; no detector wants them.
_LEAVES = (ast.Name, ast.Constant, ast.alias, ast.arg, ast.Global, ast.Nonlocal, ast.Pass)


def mentions(text: str) -> bool:
    """True if a file's text has a word that a finding could be about."""
    low = text.lower()
    return any(word in low for word in _WORDS)


def _table() -> dict[type, list[Callable[[ast.AST, Place], Iterator[Finding]]]]:
    table: dict[type, list[Callable[[ast.AST, Place], Iterator[Finding]]]] = {}
    for detector in DETECTORS:
        for node_type in detector.NODES:
            table.setdefault(node_type, []).append(detector.detect)
    return table


_BY_NODE = _table()


def names_that_need_a_kernel(modules: list[Module]) -> set[str]:
    """The names of the modules that cannot be imported without a kernel's package."""
    return {m.name for m in modules if mentions(m.text) and imports.needs_kernel(m)}


def find_in_module(project: Project, module: Module, needing: set[str]) -> list[Finding]:
    """All findings of one module, each with its scope, without a status.

    `needing` are names of modules of the tree whose import is a finding itself.
    """
    if not mentions(module.text) and not any(name in module.text for name in needing):
        return []
    findings: list[Finding] = []
    _visit(module.tree, Place(project, module), findings)
    return findings


def _visit(node: ast.AST, place: Place, findings: list[Finding]) -> None:
    for detect in _BY_NODE.get(type(node), ()):
        for finding in detect(node, place):
            finding.scope = place.scope
            findings.append(finding)
    inner: Place | None = None
    for child in children(node):
        if not isinstance(child, _LEAVES):
            inner = inner or place.enter(node)
            _visit(child, inner, findings)
