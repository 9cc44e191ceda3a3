"""Carry out the choices for one model's sites: names in configs, marks, hooks, the guard.

Masks must fit the kernels of every layer that shares them. A decoder makes one mask for all of its
layers, in the form that its config's name asks for; so where the sites of a model do not all mean
the same, the name is "sdpa" throughout, whose masks every backend here takes, and a site that is to
run the model's own eager code gets its mask in that code's form (`own_eager`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from attnswitch import intent
from attnswitch.backends.catalogue import family_of
from attnswitch.errors import RequestError
from attnswitch.seams import (
    checkpointing,
    interface,
    model_hooks,
    operator,
    own_eager,
    package,
    refusion,
)
from attnswitch.seams.names.resolution import is_projects_own, names_flash
from attnswitch.types import Choice, Site

Undo = Callable[[], None]


def carry_out(
    model: Any,
    modules: Mapping[str, Any],
    choices: Mapping[str, Choice],
    entries: Iterable[Any],
    undo: list[Undo],
) -> None:
    """Switch the sites of `model`; each step adds its way back to `undo` as it is taken.

    `modules` are the sites' modules by path, `entries` those by which a run can enter the model.

    Raises:
        RequestError: a site is to keep a name whose masks do not fit the others'.
    """
    active = {path: c for path, c in choices.items() if _is_active(c)}
    if not active:
        return
    refusion.install()
    checkpointing.install()
    own = {p for p, c in active.items() if _runs_projects_function(modules[p], c)}
    if own:
        package.hold()
        undo.append(package.release)
    followed = {path: c for path, c in active.items() if path not in own}
    _switch_interface(model, modules, choices, followed, undo)
    for path, choice in active.items():
        undo.append(model_hooks.mark(modules[path], choice))
        if path in own or _site(choice).reach == "operator":
            _switch_operator(modules[path], choice, undo)
    _bar(modules, active, all(c.bars_flash for c in choices.values()), entries, undo)


def _is_active(choice: Choice) -> bool:
    return any(possible.backend != "auto" for possible in choice.possible)


def _site(choice: Choice) -> Site:
    assert choice.site is not None
    return choice.site


def _runs_projects_function(module: Any, choice: Choice) -> bool:
    """Whether a site calls a function that the project put in the place of FlashAttention's.

    Its own calls are switched then, and not its name: it may pack sequences. A function under a
    name of its own gets no mask from transformers unless the project sees to it; there the site is
    switched to SDPA and SDPA's mask, and that is said.
    """
    asked = getattr(getattr(module, "config", None), "_attn_implementation", None)
    follows_table = _site(choice).reach == "interface" and choice.backend != "eager"
    if not follows_table or not is_projects_own(asked):
        return False
    if not names_flash(asked):
        warnings.warn(
            f"attnswitch: {choice.source} switches sites with the attention function {asked!r} of "
            "the project's own to SDPA and its masks; that function does not run",
            stacklevel=5,
        )
        return False
    return True


def _switch_operator(module: Any, choice: Choice, undo: list[Undo]) -> None:
    operator.install()
    undo.append(model_hooks.push_while_running(module, choice))
    by_hand = isinstance(module, torch.nn.MultiheadAttention)
    if by_hand:
        undo.append(model_hooks.close_fast_path(module))
    others = [c for c in choice.possible if family_of(c.backend) != "standard"]
    if by_hand and others:
        undo.append(model_hooks.refuse_weights(module, others[0]))


def _switch_interface(
    model: Any,
    modules: Mapping[str, Any],
    choices: Mapping[str, Choice],
    active: Mapping[str, Choice],
    undo: list[Undo],
) -> None:
    names = _names(active)
    if not names:
        return
    interface.hold()
    undo.append(interface.release)
    renamed = {id(getattr(modules[path], "config", None)) for path in names}
    for path, choice in choices.items():
        left_alone = any(possible.backend == "auto" for possible in choice.possible)
        config = getattr(modules[path], "config", None)
        if left_alone and _site(choice).reach == "interface" and id(config) in renamed:
            _keep_projects_own(modules[path], path, choice, undo)
    undo.append(model_hooks.rename(model, names))


def _names(active: Mapping[str, Choice]) -> dict[str, str]:
    """{path: name} for the sites that follow transformers' table."""
    sites = {path: c for path, c in active.items() if _site(c).reach == "interface"}
    plain = {path: c for path, c in sites.items() if c.backend == "eager"}
    if len(plain) < len(sites):
        # Some run another backend: only a site that can do nothing else keeps the name "eager".
        plain = {path: c for path, c in plain.items() if not _site(c).sdpa}
    return {path: "eager" if path in plain else "sdpa" for path in sites}


def _keep_projects_own(module: Any, path: str, choice: Choice, undo: list[Undo]) -> None:
    """A site whose choice may be the project's own, under a name that is rewritten for others."""
    own = getattr(module.config, "_attn_implementation", None)
    if own == "eager":
        undo.append(own_eager.remember(module))
    elif own not in (None, "sdpa"):
        source = next(c.source for c in choice.possible if c.backend == "auto")
        raise RequestError(
            f"{source} leaves {path} as it is, which is {own!r}, but other layers that share its "
            "masks run something else, and their masks do not fit it; ask for a backend there"
        )


def _bar(
    modules: Mapping[str, Any],
    active: Mapping[str, Choice],
    everywhere: bool,
    entries: Iterable[Any],
    undo: list[Undo],
) -> None:
    """Bar FlashAttention while the model runs or, where some sites may use it, at the others."""
    first = next(iter(active.values()))
    if everywhere:
        intent.begin_barring_plan(active)
        undo.append(lambda: intent.end_barring_plan(active))
        for entry in entries:
            undo.append(model_hooks.bar_while_running(entry, _holder(first)))
        return
    for path, choice in active.items():
        if choice.bars_flash:
            undo.append(model_hooks.bar_while_running(modules[path], _holder(choice)))


def _holder(choice: Choice) -> str:
    return f"{choice.source} asking for {choice.requested!r}"
