"""What a stand-in raises where rules leave a call to the package itself; imports no torch."""

from __future__ import annotations

from attnswitch.errors import UnavailableError


class LeftToPackageError(UnavailableError):
    """The rules leave this call to `backend`: the package itself, or the project's own choice."""

    backend = "auto"
