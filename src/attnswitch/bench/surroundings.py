"""What a run was taken on: packages, machine, clocks, and the code of attnswitch that ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attnswitch
from attnswitch import environment
from attnswitch.hardware.clocks import clocks
from attnswitch.record.project import code_digest


def surroundings() -> dict[str, Any]:
    """`environment.describe()` with clocks, load and driver, and a digest of attnswitch's code."""
    return {
        **environment.describe(),
        "clocks": clocks(),
        "code": code_digest(Path(attnswitch.__file__).parent),
    }
