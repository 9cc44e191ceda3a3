"""One detector a mechanism: each looks at one syntax node and yields findings, never verdicts.

A detector module has `NODES`, the node types it wants, and `detect(node, place)`. The table
below is the whole registry.
"""

from __future__ import annotations

import ast
import re
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
from attnswitch.source.project import Module, Project, children
from attnswitch.source.records import Finding

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

#: A file without any of these words cannot hold a finding; most files are settled here.
MENTIONS = re.compile(
    r"flash|attn_?impl|attention_?impl|xformers|xattn|sdpa|scaled_dot_product|sdp_kernel|_sdp\b"
    r"|attn_backend|attention_backend|ATTENTION_CLASSES|ATTENTION_FUNCTIONS|NVTE_|ATTN"
    r"|memory_efficient_attention|bettertransformer|attention\.forward|attention_mask =",
    re.IGNORECASE,
)


def _table() -> dict[type, list[Callable[[ast.AST, Place], Iterator[Finding]]]]:
    table: dict[type, list[Callable[[ast.AST, Place], Iterator[Finding]]]] = {}
    for detector in DETECTORS:
        for node_type in detector.NODES:
            table.setdefault(node_type, []).append(detector.detect)
    return table


_BY_NODE = _table()


def find_in_module(project: Project, module: Module) -> list[Finding]:
    """All findings of one module, each with its scope, without a status."""
    if not MENTIONS.search(module.text):
        return []
    findings: list[Finding] = []
    _visit(module.tree, Place(project, module), findings)
    return findings


def _visit(node: ast.AST, place: Place, findings: list[Finding]) -> None:
    for detect in _BY_NODE.get(type(node), ()):
        for finding in detect(node, place):
            finding.scope = place.scope
            findings.append(finding)
    inner = place.enter(node)
    for child in children(node):
        _visit(child, inner, findings)
