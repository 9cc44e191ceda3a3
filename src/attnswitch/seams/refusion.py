"""Inductor recognises attention written by hand and fuses it into SDPA: not where flash is barred.

A compiled softmax(QKᵀ)V runs FlashAttention on its own account. While a request that bars it is in
force those patterns, and no others, do not match, so the model's own arithmetic is compiled as it
is written. The guard stands behind this: should a fused kernel be compiled all the same, it raises.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attnswitch import intent

_MODULE = "torch._inductor.fx_passes.joint_graph"
_PATTERNS = "torch._inductor.fx_passes.fuse_attention"
_MARK = "_attnswitch_asks_first"
_installed = False


def install() -> None:
    """Stand where Inductor loads its patterns, now or when it is imported; once a process."""
    global _installed
    if _installed:
        return
    _installed = True
    if _MODULE in sys.modules:
        _stand_in(sys.modules[_MODULE])
    else:
        import wrapt

        wrapt.register_post_import_hook(_stand_in, _MODULE)


def _stand_in(joint_graph: Any) -> None:
    load = getattr(joint_graph, "lazy_init", None)
    if load is None:
        return  # another torch, arranged differently: the guard is left

    def lazy_init(*args: Any, **kwargs: Any) -> Any:
        result = load(*args, **kwargs)
        _make_them_ask(joint_graph)
        return result

    joint_graph.lazy_init = lazy_init


def _make_them_ask(joint_graph: Any) -> None:
    """Give every attention pattern a check that looks at the request in force first."""
    passes = [getattr(joint_graph, "patterns", None), *getattr(joint_graph, "pass_patterns", [])]
    for one in passes:
        for entries in getattr(one, "patterns", {}).values():
            for entry in entries:
                check = entry.extra_check
                if _is_attention(check) and not hasattr(check, _MARK):
                    entry.extra_check = _asking_first(check)


def _is_attention(check: Any) -> bool:
    """Whether a pattern's check belongs to one of Inductor's attention patterns."""
    names = getattr(getattr(check, "__code__", None), "co_freevars", ())
    if "search_fn" not in names:
        return False
    search = check.__closure__[names.index("search_fn")].cell_contents
    return getattr(search, "__module__", None) == _PATTERNS


def _asking_first(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def asked(match: Any) -> bool:
        return not intent.refusion_barred() and check(match)

    setattr(asked, _MARK, True)
    return asked
