"""What can be wrong with a checkpoint, as one clear line; foreign exceptions are mapped here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attnswitch.errors import (
    AttnSwitchError,
    ModelInputError,
    UnavailableError,
    did_you_mean,
)

# Checkpoints in the LLaVA repositories' own format, which transformers does not know.
ORIGINAL_FORMATS = ("llava_llama", "llava_mistral", "llava_mpt", "llava_qwen", "llava_gemma")
# What to install for a package that model code asks for.
_INSTALL = {"timm": "pip install timm torchvision", "torchvision": "pip install torchvision"}
_UNREACHABLE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectTimeout",
                "ConnectionError", "ReadTimeout")  # fmt: skip


@contextmanager
def as_one_line(shown: str) -> Iterator[None]:
    """Turn what transformers and the hub raise while loading `shown` into our errors."""
    try:
        yield
    except AttnSwitchError:
        raise
    except ImportError as error:
        raise _missing_package(shown, error) from error
    except MemoryError as error:
        raise UnavailableError(f"{shown} does not fit into this machine's memory") from error
    except Exception as error:
        raise _cannot_load(shown, error) from error


def original_format(shown: str, kind: str) -> str:
    """The line for a checkpoint in the LLaVA repository's own format."""
    return (
        f"{shown} is in the LLaVA repository's own format (model_type {kind!r}), which "
        "transformers does not load; give the converted one, such as llava-hf/llava-1.5-7b-hf, "
        "or switch the repository's own script: attnswitch run"
    )


def check_model_type(shown: str, kind: str, has_own_code: bool) -> None:
    """Complain about a model_type that the installed transformers does not know."""
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if kind in CONFIG_MAPPING:
        return
    if has_own_code:
        raise ModelInputError(
            f"{shown} brings its own code (model_type {kind!r}); read it, then allow it with "
            "--trust-remote-code"
        )
    hint = did_you_mean(kind, CONFIG_MAPPING.keys())
    raise ModelInputError(f"{shown}: transformers {__version__} knows no model_type {kind!r}{hint}")


def takes_no_pictures(shown: str, raw: dict[str, Any], config: Any) -> str:
    """The line for a model that does not take pictures and text."""
    classes = ", ".join(raw.get("architectures") or [type(config).__name__])
    kind = raw["model_type"]
    what = "text-only" if not hasattr(config, "vision_config") else "no picture-and-text"
    return (
        f"{shown} is a {what} model ({classes}, model_type {kind!r}); give one that takes "
        "pictures and text, such as llava, llava_next or llava_onevision"
        if what == "text-only"
        else f"{shown} ({classes}, model_type {kind!r}) does not answer questions about pictures; "
        "give a LLaVA-family model, such as llava, llava_next or llava_onevision"
    )


def _missing_package(shown: str, error: ImportError) -> UnavailableError:
    text = str(error)
    for package, command in _INSTALL.items():
        if re.search(rf"\b{package}\b", text, re.IGNORECASE):
            return UnavailableError(
                f"{shown} needs the package {package!r}, which does not import here",
                remedy=f"Install it with: {command}",
            )
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return UnavailableError(f"{shown} needs a package that does not import here", reasons=[first])


def _cannot_load(shown: str, error: Exception) -> AttnSwitchError:
    """Hub and file errors, told apart by the exceptions behind them."""
    names = {type(e).__name__ for e in _chain(error)}
    if "GatedRepoError" in names:
        return ModelInputError(
            f"{shown} is gated on the hub: ask for access on its page, then run: hf auth login"
        )
    if names & {"RepositoryNotFoundError", "HFValidationError", "RevisionNotFoundError"}:
        return ModelInputError(
            f"there is no model {shown} on the hub, and no such folder here (a private one "
            "needs: hf auth login)"
        )
    if names & set(_UNREACHABLE) or "couldn't connect" in str(error).lower():
        return UnavailableError(
            f"{shown} is no local folder, and the hub cannot be reached",
            reasons=["no network, or HF_HUB_OFFLINE is set, and it is not in the local cache"],
            remedy="Download it where there is a network and give its folder",
        )
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelInputError(f"{shown} cannot be loaded: {first}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
