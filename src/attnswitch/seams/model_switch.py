"""Carry out the choices for one model's sites: names in configs, marks, hooks, the guard.

Masks must fit the kernels of every layer that shares them. A decoder makes one mask for all of its
layers, in the form that its config's name asks for; so where the sites of a model do not all mean
the same, the name is "sdpa" throughout, whose masks every backend here takes, and a site that is to
run the model's own eager code gets its mask in that code's form (`own_eager`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
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
    entries: list[Any],
    plan: int,
    undo: list[Undo],
) -> None:
    """Switch the sites of `model`; each step adds its way back to `undo` as it is taken.

    `modules` are the sites' modules by path, `entries` those by which a run can enter the model,
    `plan` is this plan's number. Where older plans stand, this one comes over them, also at the
    sites that it leaves as the project wrote them.

    Raises:
        RequestError: a site is to keep a name whose masks do not fit the others'.
    """
    older = [module for module in model.modules() if model_hooks.is_planned(module)]
    over = bool(older)
    active = {path: c for path, c in choices.items() if _is_active(c)}
    if not active and not over:
        return
    hooked = (*older, *entries, *(modules[path] for path in choices))
    undo.append(model_hooks.number({id(module): module for module in hooked}.values(), plan))
    refusion.install()
    checkpointing.install()
    own = {p for p, c in active.items() if _runs_projects_function(modules[p], c)}
    if own:
        package.hold()
        undo.append(package.release)
    followed = {path: c for path, c in active.items() if path not in own}
    _switch_interface(model, modules, choices, followed, over, undo)
    for path, choice in (choices if over else active).items():
        undo.append(model_hooks.mark(modules[path], choice))
    for path, choice in active.items():
        if path in own or _site(choice).reach == "operator":
            _switch_operator(modules[path], choice, plan, undo)
    _bar(modules, choices, entries, over, plan, undo)


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
    asked = _projects_own_name(module)
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


def _projects_own_name(module: Any) -> str | None:
    config = getattr(module, "config", None)
    return None if config is None else model_hooks.projects_own_name(config)


def _switch_operator(module: Any, choice: Choice, plan: int, undo: list[Undo]) -> None:
    operator.install()
    undo.append(model_hooks.push_while_running(module, choice, plan))
    by_hand = isinstance(module, torch.nn.MultiheadAttention)
    if by_hand:
        undo.append(model_hooks.close_fast_path(module, plan))
    others = [c for c in choice.possible if family_of(c.backend) != "standard"]
    if by_hand and others:
        undo.append(model_hooks.refuse_weights(module, others[0], plan))


def _switch_interface(
    model: Any,
    modules: Mapping[str, Any],
    choices: Mapping[str, Choice],
    active: Mapping[str, Choice],
    over: bool,
    undo: list[Undo],
) -> None:
    names = _names(active)
    if names:
        interface.hold()
        undo.append(interface.release)
    renamed = {id(getattr(modules[path], "config", None)) for path in names}
    for path, choice in choices.items():
        left_alone = any(possible.backend == "auto" for possible in choice.possible)
        if not left_alone or _site(choice).reach != "interface":
            continue
        own = _projects_own_name(modules[path])
        if id(getattr(modules[path], "config", None)) in renamed:
            _keep_projects_own(modules[path], own, path, choice, undo)
        elif over and own is not None:
            names[path] = own  # an older plan may have written another
    undo.append(model_hooks.rename(model, names))


def _names(active: Mapping[str, Choice]) -> dict[str, str]:
    """{path: name} for the sites that follow transformers' table."""
    sites = {path: c for path, c in active.items() if _site(c).reach == "interface"}
    plain = {path: c for path, c in sites.items() if c.backend == "eager"}
    if len(plain) < len(sites):
        # Some run another backend: only a site that can do nothing else keeps the name "eager".
        plain = {path: c for path, c in plain.items() if not _site(c).sdpa}
    return {path: "eager" if path in plain else "sdpa" for path in sites}


def _keep_projects_own(
    module: Any, own: str | None, path: str, choice: Choice, undo: list[Undo]
) -> None:
    """A site whose choice may be the project's own, under a name that is rewritten for others."""
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
    choices: Mapping[str, Choice],
    entries: list[Any],
    over: bool,
    plan: int,
    undo: list[Undo],
) -> None:
    """Bar FlashAttention while the model runs or, where some sites may use it, at the others.

    `over`: there may be older plans that bar it while the model, or what it is part of, runs.
    """
    first = next(iter(choices.values()))
    if all(choice.bars_flash for choice in choices.values()):
        intent.begin_barring_plan(choices)
        undo.append(lambda: intent.end_barring_plan(choices))
        for entry in entries:
            undo.append(model_hooks.bar_while_running(entry, _holder(first), plan))
        return
    if over:
        for entry in entries:
            undo.append(model_hooks.lift_while_running(entry, _holder(first), plan))
    for path, choice in choices.items():
        if choice.bars_flash:
            undo.append(model_hooks.bar_while_running(modules[path], _holder(choice), plan))


def _holder(choice: Choice) -> str:
    return f"{choice.source} asking for {choice.requested!r}"
