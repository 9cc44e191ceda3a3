"""What a trace tells besides the kernels: who asked for what, in which form, what was refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attnswitch.report.kernel_groups import KernelGroup
from attnswitch.report.safe_text import visible
from attnswitch.report.vocabulary import UNPLACED

Receipt = dict[str, Any]


def request_lines(receipts: Iterable[Receipt]) -> list[str]:
    """One line for each request or setting, with whom it concerns where there are several."""
    roles: dict[tuple[Any, Any], list[str]] = {}
    for receipt in receipts:
        key = receipt.get("requested"), receipt.get("source")
        role = receipt.get("role") or UNPLACED
        if key != (None, None) and role not in roles.setdefault(key, []):
            roles[key].append(role)
    lines = []
    for (requested, source), concerned in roles.items():
        asked = f"{visible(requested)} was asked for" if requested else "nothing was asked for"
        by = (f" by {visible(source)}" if requested else f"; {visible(source)}") if source else ""
        whom = f"  ({', '.join(map(visible, concerned))})" if len(roles) > 1 else ""
        lines.append(f"{asked}{by}{whom}")
    return lines


def refusal_lines(receipts: Iterable[Receipt]) -> list[str]:
    """`flash: 'standard' was asked for`, one line for each backend and set of reasons."""
    found: dict[str, None] = {}
    for receipt in receipts:
        for refused in receipt.get("refused") or ():
            reasons = "; ".join(map(visible, refused.get("reasons") or ()))
            found[f"{visible(refused.get('backend'))}: {reasons}"] = None
    return list(found)


def form_of(group: KernelGroup) -> str:
    """`float32, query 1×4×8×16, key 1×4×8×16, mask causal`; empty where nothing is known."""
    words = [visible(" and ".join(group.dtypes))] if group.dtypes else []
    if group.shapes:
        named = zip(("query", "key"), group.shapes[0][:2], strict=False)
        words += [f"{name} {'×'.join(map(str, shape))}" for name, shape in named]
        if len(group.shapes) > 1:
            words.append(f"and {len(group.shapes) - 1} more")
    if group.masks:
        words.append(f"mask {visible('; '.join(group.masks))}")
    return ", ".join(words)
