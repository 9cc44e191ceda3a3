"""The guard: FlashAttention's own operators made to raise, which proves absence.

While it is up, a call of any operator listed here raises `ForbiddenError`, from eager code,
inference mode, compiled code, vmap, or direct calls alike, because the kernel itself is replaced
at the dispatcher's backend key. When the last holder lets go, the original kernels stand again.

`raise_up` bars the whole process, other threads too; `bar_thread` the calling thread only (for one
model among others). `tripped` keeps what was stopped, so that a program that swallows the exception
still leaves a mark.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from attnswitch.errors import ForbiddenError
from attnswitch.whereabouts import current_path, user_line

# PyTorch's FlashAttention leaf operators, with the devices they have kernels for. The backward of
# the CPU kernel is not barred: it can only follow a forward that ran before the guard went up.
ATEN_OPERATORS: dict[str, tuple[str, ...]] = {
    "_scaled_dot_product_flash_attention_for_cpu": ("CPU",),
    "_scaled_dot_product_flash_attention": ("CUDA",),
    "_scaled_dot_product_cudnn_attention": ("CUDA",),
    "_flash_attention_forward": ("CUDA",),
    "_flash_attention_forward_no_dropout_inplace": ("CUDA",),
}
# Custom operators that packages register when imported: barred where they exist.
PACKAGE_OPERATORS: tuple[tuple[str, str], ...] = (
    ("flash_attn", "_flash_attn_forward"),
    ("flash_attn", "_flash_attn_varlen_forward"),
    ("flash_attn_2", "fwd"),
    ("flash_attn_3", "fwd"),
    ("xformers_flash", "flash_fwd"),
    ("xformers_flash3", "flash_fwd"),
)


@dataclass(frozen=True)
class Trip:
    """One stopped call: the operator, who forbade it, and the line of user code that made it."""

    operator: str
    forbidden_by: str
    where: str
    site: str | None = None
    happened: str = "FlashAttention was about to run"

    def __str__(self) -> str:
        at = f" at {self.site}" if self.site else ""
        return (
            f"{self.happened}{at}: {self.operator}, forbidden by {self.forbidden_by}, "
            f"called from {self.where}"
        )


tripped: list[Trip] = []
# Called with each new Trip; a process that was armed tells the `attnswitch run` above it.
on_trip: list[Callable[[Trip], None]] = []
# How often each operator ran while something stood here and did not bar it.
passed: Counter[str] = Counter()
on_pass: list[Callable[[str, tuple[Any, ...]], None]] = []


class _PerThread(threading.local):
    """Who bars FlashAttention on this thread only, and whether its calls are left uncounted."""

    def __init__(self) -> None:
        self.holders: list[str] = []
        self.uncounted = 0
        self.permits = 0


_lock = threading.RLock()
_process: list[str] = []
_thread = _PerThread()
_users = 0
_libraries: list[Any] = []


# Names the site that is running, for messages; a trace, which knows better, sets it.
describe_site: Callable[[], str | None] = current_path


def is_up() -> bool:
    """Whether a call made now on this thread would be stopped."""
    return bool(_holders()) and bool(_libraries)


def _holders() -> list[str]:
    """Who bars FlashAttention for a call made now on this thread."""
    return _thread.holders or ([] if _thread.permits else _process)


def is_up_everywhere() -> bool:
    """Whether a call made now on any thread of this process would be stopped."""
    return bool(_process) and not _thread.permits and bool(_libraries)


def raise_up(holder: str) -> None:
    """Bar FlashAttention's operators in this process; `holder` says who asked, for the message."""
    with _lock:
        prepare()
        _process.append(holder)


def let_down(holder: str) -> None:
    """Undo one `raise_up` of the same holder."""
    with _lock:
        _process.remove(holder)
        retire()


def bar_thread(holder: str) -> None:
    """Bar FlashAttention's operators on this thread until `unbar_thread`."""
    if not can_pass_through():
        raise_up(holder)
    _thread.holders.append(holder)


def unbar_thread() -> None:
    """Undo the newest `bar_thread` of this thread."""
    holder = _thread.holders.pop()
    if not can_pass_through():
        let_down(holder)


def permit_thread() -> None:
    """Let this thread run FlashAttention although the process bars it, until `end_permit`."""
    _thread.permits += 1


def end_permit() -> None:
    """Undo one `permit_thread`."""
    _thread.permits -= 1


def suspend() -> Callable[[], None]:
    """Let all of the process's holders go; returns the way back."""
    with _lock:
        holders = list(_process)
        for holder in holders:
            let_down(holder)

    def restore() -> None:
        for holder in holders:
            raise_up(holder)

    return restore


@contextmanager
def uncounted() -> Iterator[None]:
    """Kernels that this thread runs inside the block are nobody's attention: a comparison's."""
    _thread.uncounted += 1
    try:
        yield
    finally:
        _thread.uncounted -= 1


@contextmanager
def guarding(holder: str) -> Iterator[None]:
    """Bar FlashAttention's operators in this process inside the block."""
    raise_up(holder)
    try:
        yield
    finally:
        let_down(holder)


def prepare() -> None:
    """Replace the kernels by ones that ask whether they are barred (each call needs a `retire`)."""
    global _users
    with _lock:
        if _users == 0:
            _install()
        _users += 1


def retire() -> None:
    """Undo one `prepare`; the last one puts the original kernels back."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            while _libraries:
                _libraries.pop()._destroy()


def can_pass_through() -> bool:
    """Whether this torch can call a kernel that we stand in front of (torch >= 2.9)."""
    import torch

    return hasattr(torch.library, "get_kernel")


def _install() -> None:
    import torch

    for name, keys in ATEN_OPERATORS.items():
        if hasattr(torch.ops.aten, name):
            for key in keys:
                _bar("aten", name, key)
    for namespace, name in PACKAGE_OPERATORS:
        if hasattr(getattr(torch.ops, namespace), name):
            _bar(namespace, name, "CUDA")


def _bar(namespace: str, name: str, key: str) -> None:
    import torch

    packet = getattr(getattr(torch.ops, namespace), name)
    for overload_name in packet.overloads():
        kernel = _kernel_of(getattr(packet, overload_name), key)
        full = name if overload_name == "default" else f"{name}.{overload_name}"
        library = torch.library.Library(namespace, "IMPL")
        stopper = _stopper(f"{namespace}::{name}", kernel)
        # Overriding a kernel is the point here; torch warns about it once a process.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library.impl(full, stopper, key, with_keyset=True, **_override(library))
        _libraries.append(library)


def _override(library: Any) -> dict[str, bool]:
    """torch >= 2.7 wants to be told that an override is meant; earlier ones have no such word."""
    accepted = inspect.signature(library.impl).parameters
    return {"allow_override": True} if "allow_override" in accepted else {}


def _kernel_of(operator: Any, key: str) -> Any:
    """The kernel that stands at `key` now, or None where there is none or torch cannot tell."""
    import torch

    if not can_pass_through():
        return None
    try:
        return torch.library.get_kernel(operator, key)
    except RuntimeError:
        return None


def _stopper(operator: str, kernel: Any) -> Callable[..., Any]:
    """A kernel that raises where it is barred and is the original one elsewhere."""

    def stop(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        holders = _holders()
        if not holders and kernel is not None:
            if not _thread.uncounted:
                passed[operator] += 1
                for listener in on_pass:
                    listener(operator, args)
            return kernel.call_boxed(keyset, *args, **kwargs)
        raise trip(operator, holders[-1] if holders else "a guard that just ended")

    return stop


def trip(operator: str, forbidden_by: str, happened: str = Trip.happened) -> ForbiddenError:
    """Mark the process and return the error to raise: `operator` was about to run."""
    site = describe_site() or current_path()
    one = Trip(operator, forbidden_by, user_line(), site, happened)
    tripped.append(one)
    for listener in on_trip:
        listener(one)
    return ForbiddenError(str(one))
