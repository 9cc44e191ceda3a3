"""Build every environment, or those named: `python -m compat.build 4.37`."""

from __future__ import annotations

import sys
import time

from compat.environments import python_of
from compat.pins import ENVIRONMENTS

if __name__ == "__main__":
    for name in sys.argv[1:] or ENVIRONMENTS:
        started = time.perf_counter()
        print(name, python_of(name), f"{time.perf_counter() - started:.0f} s", flush=True)
