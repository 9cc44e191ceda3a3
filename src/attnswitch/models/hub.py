"""Is the model hub within reach? Asked once, before a client that retries for half a minute."""

from __future__ import annotations

import os
import socket
import urllib.parse
import urllib.request

from attnswitch.errors import UnavailableError

TIMEOUT_SECONDS = 5.0


def require_reachable(name: str) -> None:
    """Return if `name` is in the local cache or the hub answers; behind a proxy, trust the proxy.

    Raises:
        UnavailableError: neither.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return
    except HFValidationError:
        return  # no name of a repository: the client says so without a network
    if constants.HF_HUB_OFFLINE or os.environ.get("TRANSFORMERS_OFFLINE") == "1":
        raise _unreachable(name, "HF_HUB_OFFLINE is set, and it is not in the local cache")
    address = urllib.parse.urlsplit(constants.ENDPOINT)
    if address.scheme in urllib.request.getproxies():
        return
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), TIMEOUT_SECONDS).close()
    except OSError as error:
        raise _unreachable(name, f"{address.hostname}: {error.strerror or error}") from error


def _unreachable(name: str, reason: str) -> UnavailableError:
    return UnavailableError(
        f"{name} is no local folder, and the hub cannot be reached",
        reasons=[reason],
        remedy="Download it where there is a network and give its folder",
    )
