"""Every error that attnswitch raises on purpose.

    AttnSwitchError                 anything below
    ├── InputError                  the request or the input is wrong          (exit status 2)
    │   ├── RequestError            no such backend, family or policy value
    │   ├── PolicyError             a policy file that says something impossible
    │   └── ModelInputError         a model, picture or prompt that cannot be used
    ├── UnavailableError            it cannot be met on this machine           (exit status 3)
    │   └── MissingExtraError       an optional dependency is not installed
    └── ForbiddenError              a forbidden kernel was about to run        (exit status 1)

Commands turn these into one line on standard error and the exit status above.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class AttnSwitchError(Exception):
    """Base of all errors raised on purpose; `exit_status` is what a command returns for it."""

    exit_status = 1


class InputError(AttnSwitchError):
    """The request or the input is wrong; another machine would refuse it too."""

    exit_status = 2


class RequestError(InputError):
    """A request names no backend, family, policy file or keyword."""


class PolicyError(InputError):
    """A policy file cannot be read or says something that is not allowed."""

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None):
        self.path, self.line = path, line
        where = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(where + message)


class ModelInputError(InputError):
    """A model folder, a picture, a prompt or a length that cannot be used."""


class UnavailableError(AttnSwitchError):
    """The request is well formed but cannot be met here.

    `message` says what was asked, `reasons` holds every reason, one short fact each, `remedy`
    what would work instead.
    """

    exit_status = 3

    def __init__(self, message: str, *, reasons: Sequence[str] = (), remedy: str = ""):
        self.message, self.reasons, self.remedy = message, tuple(reasons), remedy
        parts = [message]
        if self.reasons:
            parts.append("; ".join(self.reasons))
        text = ": ".join(parts)
        if remedy:
            text += f". {remedy}"
        super().__init__(text)


class MissingExtraError(UnavailableError):
    """An optional dependency is not installed; the message names the exact install command."""

    def __init__(self, package: str, extra: str, purpose: str):
        self.package, self.extra = package, extra
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed",
            remedy=f'Install it with: pip install "attnswitch[{extra}]"',
        )


class ForbiddenError(AttnSwitchError):
    """A kernel that was forbidden was about to run; nothing of it was executed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
