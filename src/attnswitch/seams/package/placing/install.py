"""Put the seam in place while a request is in force, and take it away exactly."""

from __future__ import annotations

import sys
import threading

from attnswitch.seams.package.placing import replacing
from attnswitch.seams.package.placing.exports import ROOTS
from attnswitch.seams.package.placing.finder import PackageFinder
from attnswitch.seams.package.placing.stand_in import remove_all

_lock = threading.RLock()
_holders = 0
_finder = PackageFinder()


def hold() -> None:
    """Stand at the packages; the first holder installs, later ones count."""
    global _holders
    with _lock:
        if _holders == 0:
            sys.meta_path.insert(0, _finder)
            for name in replacing.MODULES:
                replacing.replace(name)
        _holders += 1


def release() -> None:
    """Let go; after the last holder sys.meta_path, sys.modules and the packages are as before.

    Functions that code imported from a stand-in stay with that code; called with no request in
    force they raise `UnavailableError`.
    """
    global _holders
    with _lock:
        _holders -= 1
        if _holders:
            return
        sys.meta_path.remove(_finder)
        for root in ROOTS:
            remove_all(root)
        replacing.restore()
