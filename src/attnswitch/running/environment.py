"""The environment that `attnswitch run` gives its command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attnswitch import arming
from attnswitch.running import checkin


def armed_environment(
    base: Mapping[str, str],
    *,
    request: str | None,
    forbid: str | None,
    require: str | None,
    receipt: str | None,
    folder: Path,
) -> dict[str, str]:
    """`base` with the options written over it; without a request, `auto`: only watch.

    Raises:
        RequestError, PolicyError: an option's or an inherited variable's value is wrong.
    """
    environment = dict(base)
    given = {
        arming.REQUEST_VARIABLE: request,
        arming.FORBID_VARIABLE: forbid,
        arming.REQUIRE_VARIABLE: require,
        arming.RECEIPT_VARIABLE: os.path.abspath(receipt) if receipt else None,
    }
    environment.update({name: value for name, value in given.items() if value is not None})
    environment.setdefault(arming.REQUEST_VARIABLE, "auto")
    environment.pop(arming.RECEIPT_OWNER_VARIABLE, None)
    environment[checkin.VARIABLE] = str(folder)
    arming.check(environment)
    return environment
