"""Operators and literals: tests, texts, rows and dictionaries."""

# ruff: noqa: N802, N815 - handlers are named after the syntax nodes and functions they take

from __future__ import annotations

import ast

from attnswitch.source.flow import strings
from attnswitch.source.flow import truth as truths
from attnswitch.source.flow.names import Names
from attnswitch.source.flow.state import UNKNOWN, Frame
from attnswitch.source.flow.truth import Truth
from attnswitch.source.flow.values import Const, Mapping, Row, Value, choose

#: Longer rows and dictionaries are data: categories of a dataset, not a configuration.
MOST_ITEMS = 200


class Operators(Names):
    """Evaluates operators, comparisons, and what is written out in the source."""

    def _eval_IfExp(self, node: ast.IfExp, frame: Frame) -> Value:
        truth = self.test(node.test, frame)
        if truth.known is not None:
            return self.evaluate(node.body if truth.known else node.orelse, frame)
        guard = self.state.guard
        self.state.guard = guard | truth.yes
        left = self.evaluate(node.body, frame)
        self.state.guard = guard | truth.no
        right = self.evaluate(node.orelse, frame)
        self.state.guard = guard
        return choose([(truth.yes, left), (truth.no, right)])

    def _eval_BoolOp(self, node: ast.BoolOp, frame: Frame) -> Value:
        values = [self.evaluate(v, frame) for v in node.values]
        result = values[0]
        is_and = isinstance(node.op, ast.And)
        for value, source in zip(values[1:], node.values[1:], strict=False):
            truth = truths.truth_of(result, self.knowledge.text(source))
            if truth.known is not None:
                result = value if truth.known is is_and else result
                continue
            skip, take = (truth.no, truth.yes) if is_and else (truth.yes, truth.no)
            kept: Value = Const(False) if is_and else result
            result = choose([(take, value), (skip, kept)])
        return result

    def _eval_UnaryOp(self, node: ast.UnaryOp, frame: Frame) -> Value:
        if isinstance(node.op, ast.Not):
            return self._as_value(self.test(node, frame))
        value = self.evaluate(node.operand, frame)
        if (
            isinstance(value, Const)
            and isinstance(node.op, ast.USub)
            and isinstance(value.value, (int, float))
        ):
            return Const(-value.value)
        return UNKNOWN

    def _eval_Compare(self, node: ast.Compare, frame: Frame) -> Value:
        return self._as_value(self.test(node, frame))

    def _as_value(self, truth: Truth) -> Value:
        if truth.known is not None:
            return Const(truth.known)
        return choose([(truth.yes, Const(True)), (truth.no, Const(False))])

    def test(self, node: ast.expr, frame: Frame) -> Truth:
        """When a test holds."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.test(node.operand, frame).inverse()
        text = self.knowledge.text(node)
        if isinstance(node, ast.BoolOp):
            parts = [self.test(v, frame) for v in node.values]
            if isinstance(node.op, ast.And):
                return truths.both(parts, text)
            return truths.either(parts, text)
        if isinstance(node, ast.Compare):
            sides = [self.evaluate(side, frame) for side in (node.left, *node.comparators)]
            if len(node.ops) > 1:
                return truths.branch(text)
            return truths.compare(sides[0], type(node.ops[0]).__name__, sides[1], text)
        return truths.truth_of(self.evaluate(node, frame), text)

    # -- texts --------------------------------------------------------------------------------

    def _eval_BinOp(self, node: ast.BinOp, frame: Frame) -> Value:
        left, right = self.evaluate(node.left, frame), self.evaluate(node.right, frame)
        return strings.added(left, right) if isinstance(node.op, ast.Add) else UNKNOWN

    def _eval_JoinedStr(self, node: ast.JoinedStr, frame: Frame) -> Value:
        parts = [
            self.evaluate(p.value if isinstance(p, ast.FormattedValue) else p, frame)
            for p in node.values
        ]
        return strings.joined(parts)

    # -- literals -----------------------------------------------------------------------------

    def _eval_Dict(self, node: ast.Dict, frame: Frame) -> Value:
        if len(node.keys) > MOST_ITEMS:
            return UNKNOWN
        entries: dict[object, Value] = {}
        rest = False
        for key, value in zip(node.keys, node.values, strict=False):
            item = self.evaluate(value, frame)
            if key is None:
                entries.update(item.items if isinstance(item, Mapping) else ())
                rest = rest or not isinstance(item, Mapping) or item.rest
                continue
            name = self.evaluate(key, frame)
            if isinstance(name, Const):
                entries.pop(name.value, None)  # the last one counts, and stands last
                entries[name.value] = item
            else:
                rest = True
        return Mapping(tuple(entries.items()), rest)

    def _eval_Tuple(self, node: ast.Tuple | ast.List, frame: Frame) -> Value:
        if len(node.elts) > MOST_ITEMS:
            return UNKNOWN
        items: list[Value] = []
        for element in node.elts:
            if isinstance(element, ast.Starred):
                row = self.evaluate(element.value, frame)
                items.extend(row.items if isinstance(row, Row) else (UNKNOWN,))
            else:
                items.append(self.evaluate(element, frame))
        return Row(tuple(items))

    _eval_List = _eval_Set = _eval_Tuple
