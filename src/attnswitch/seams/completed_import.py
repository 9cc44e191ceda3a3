"""Do something when a module is complete: imported already, later, or being imported right now.

A post-import hook alone would miss the last case: torch, whose import arms this process, is
often first imported by the very module of transformers that is to be switched, which then lies in
`sys.modules` half-made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def when_complete(name: str, action: Action) -> None:
    """Call `action(module)` once, as soon as the module `name` has run to its end.

    Where it is running at this moment, "as soon as" is the next import of any other module.
    """
    import wrapt

    if name not in sys.modules:
        wrapt.register_post_import_hook(action, name)
    elif is_complete(sys.modules[name]):
        action(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Poll(name, action))


def is_complete(module: ModuleType) -> bool:
    """Whether a module's code has run to its end."""
    return not getattr(getattr(module, "__spec__", None), "_initializing", False)


class _Poll:
    """A finder that finds nothing: it is asked at each import, looks, and goes when done."""

    def __init__(self, name: str, action: Action):
        self.name, self.action = name, action

    def find_spec(self, *_: Any) -> None:
        module = sys.modules.get(self.name)
        if module is not None and is_complete(module) and self in sys.meta_path:
            sys.meta_path.remove(self)
            self.action(module)
