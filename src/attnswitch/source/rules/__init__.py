"""How an edit is carried out: one rule a file, each over LibCST nodes.

A rule module has `NAME`, the node types it `NODES` wants, and
`apply(edit, original, updated, at)`, which returns the new node, or None if this is not the
place. `at` is the line and column of the original node. Needs LibCST.
"""

from __future__ import annotations

from types import ModuleType

from attnswitch.source.rules import (
    guard_call,
    guard_import,
    import_os,
    literal,
    option_argument,
    option_field,
    overrule,
    relax,
)

RULES: dict[str, ModuleType] = {
    rule.NAME: rule
    for rule in (
        literal,
        guard_import,
        guard_call,
        relax,
        overrule,
        option_field,
        option_argument,
        import_os,
    )
}
