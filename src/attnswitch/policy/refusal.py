"""What is said where some sites of a model cannot obey a request and others can."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from attnswitch.errors import UnavailableError
from attnswitch.policy.requests import Request
from attnswitch.types import Choice


def refusal(
    refused: Mapping[str, UnavailableError], choices: Mapping[str, Choice], asked: Request
) -> UnavailableError:
    """The error of the first site in `refused`, by path; where other sites obey (`choices`), with
    the policy that leaves the refusing ones as they are and asks the same of all others."""
    first = next(iter(refused.values()))
    if not choices or asked.policy is not None:
        return first
    # One pattern for all layers.
    alike = dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".*", path) for path in refused)
    rule = {"when": {"site": list(alike)}, "use": "auto"}
    policy = json.dumps({"attn": asked.word, "rules": [rule]})
    return UnavailableError(
        first.message,
        reasons=first.reasons,
        remedy=f"{first.remedy}; for {asked.word!r} everywhere else, give a policy, in code or in "
        f"a .json file: {policy}",
    )
