"""Walks one file with LibCST and hands each node to the rules that want it."""

from __future__ import annotations

import libcst as cst
from libcst.metadata import PositionProvider

from attnswitch.source.plan import Edit
from attnswitch.source.rules import RULES

#: Edits of one statement are applied in this order, whatever order they were planned in.
_ORDER = ("literal", "relax", "guard_import", "guard_call", "overrule", "option_argument")


class Driver(cst.CSTTransformer):
    """Applies edits where they belong; `done` holds those that found their place."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edits: list[Edit]):
        super().__init__()
        self.done: set[Edit] = set()
        ranks = {name: index for index, name in enumerate(_ORDER)}
        ordered = sorted(edits, key=lambda e: ranks.get(e.rule, len(ranks)))
        self._edits = [(e, RULES[e.rule]) for e in ordered]
        self._types = tuple({t for _, rule in self._edits for t in rule.NODES})

    def on_leave(self, original_node, updated_node):
        """Apply the edits whose place this node is."""
        updated = super().on_leave(original_node, updated_node)
        if not isinstance(original_node, self._types):
            return updated
        start = self.get_metadata(PositionProvider, original_node).start
        at = (start.line, start.column)
        for edit, rule in self._edits:
            if edit in self.done or not isinstance(original_node, rule.NODES):
                continue
            updated = self._apply(edit, rule, original_node, updated, at)
        return updated

    def _apply(self, edit, rule, original, updated, at):
        if isinstance(updated, cst.FlattenSentinel):
            nodes = list(updated)
            for index, node in enumerate(nodes):
                if type(node) is type(original):
                    changed = rule.apply(edit, original, node, at)
                    if changed is not None:
                        self.done.add(edit)
                        is_several = isinstance(changed, cst.FlattenSentinel)
                        nodes[index : index + 1] = list(changed) if is_several else [changed]
                        return cst.FlattenSentinel(nodes)
            return updated
        if type(updated) is not type(original):
            return updated
        changed = rule.apply(edit, original, updated, at)
        if changed is None:
            return updated
        self.done.add(edit)
        return changed
