"""Carry a call out: look up which backend is in force, and hand the call to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from attnswitch import intent
from attnswitch.errors import UnavailableError
from attnswitch.seams.package.attention import rows_in_blocks, with_masks
from attnswitch.seams.package.attention.call import AttentionCall, AttentionResult
from attnswitch.seams.package.left_to_package import LeftToPackageError
from attnswitch.types import Choice, RuledChoice

# Called around each call made outside compiled code, with the query as SDPA has it: [B, H, T, D],
# or [H, N, D] packed. The process's receipts stand here.
watch: Callable[[torch.Tensor, Callable[[], Any]], Any] | None = None


def run(call: AttentionCall) -> AttentionResult:
    """Compute `call` by the choice in force on this thread.

    Raises:
        UnavailableError: no request is in force, or the backend cannot take this call.
    """
    if watch is not None and not torch.compiler.is_compiling():
        return watch(call.query.transpose(-3, -2), lambda: _carry_out(call))
    return _carry_out(call)


def _carry_out(call: AttentionCall) -> AttentionResult:
    choice = intent.of_call()
    ruled = isinstance(choice, RuledChoice)
    if choice is not None:
        choice = intent.for_call(choice, call.as_rules_see_it())
    try:
        backend = _backend(choice, call)
    except UnavailableError as error:
        if not ruled or choice is None:
            raise
        left = LeftToPackageError(str(error))
        left.backend = choice.backend
        raise left from None
    return run_by(backend, call)


def run_by(backend: str, call: AttentionCall) -> AttentionResult:
    """One call by one backend."""
    if backend == "blockwise":
        return rows_in_blocks.run(call)
    return with_masks.run(backend, call)


def _backend(choice: Choice | None, call: AttentionCall) -> str:
    """The backend to use here, or an error that says why there is none."""
    if choice is None or choice.backend == "auto":
        asked = "no request is" if choice is None else f"{choice.source} asking for 'auto' is"
        raise UnavailableError(
            f"{call.function}: the package it belongs to does not work here, and {asked} in force "
            "that attnswitch's stand-in could carry out",
            remedy="Keep attnswitch.use('standard') open, or set ATTNSWITCH=standard",
        )
    if choice.backend == "eager":
        raise UnavailableError(
            f"{choice.source} asks for 'eager', but this code calls {call.function} and has no "
            "attention code of its own",
            remedy="Ask for 'math' or 'standard' instead",
        )
    if choice.backend == "flash_attn" and call.function.startswith("flash_attn"):
        raise UnavailableError(
            f"{choice.source} asks for 'flash_attn', but {call.function} is attnswitch's "
            "stand-in: the package itself does not work here",
            remedy="Ask for 'flash' (PyTorch's own kernel) or 'standard'",
        )
    return choice.backend
