"""The switch: a request carried out on one model (`apply`) or on this process (`use`)."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from attnswitch import guard, intent
from attnswitch.environment import missing_packages, require_torch, version_of
from attnswitch.errors import ModelInputError, RequestError, UnavailableError
from attnswitch.policy.deciding import choose, choose_for_process
from attnswitch.policy.facts import machine_facts
from attnswitch.policy.files import read_policy, request_from_mapping
from attnswitch.policy.precedence import settle
from attnswitch.policy.refusal import refusal
from attnswitch.policy.requests import Origin, Request, parse_request
from attnswitch.policy.unmatched import globs_without_site
from attnswitch.sites import find_entries, find_sites, takes_sdpa
from attnswitch.types import Choice, Circumstances, RuledChoice, Site
from attnswitch.whereabouts import current_place

RequestLike = str | Request | Mapping[str, Any]
_logger = logging.getLogger("attnswitch")


def as_request(
    request: RequestLike, source: str, *, origin: Origin = "code", override: bool = False
) -> Request:
    """Read a request from a word, a policy file's path, a mapping, or a Request.

    Raises:
        RequestError, PolicyError: it says nothing that can be asked for.
    """
    if isinstance(request, Request):
        return replace(request, override=request.override or override)
    if isinstance(request, Mapping):
        read = request_from_mapping(request, source)
    else:
        read = parse_request(request, source)
        if read.kind == "policy":
            read = read_policy(read.word, source)
    return replace(read, origin=origin, override=read.override or override)


class use(ContextDecorator):
    """Put a request in force for this whole process, other threads included, for a while.

        with attnswitch.use("standard"):
            model.generate(...)

    Also a decorator. What reaches attention through PyTorch's scaled_dot_product_attention is
    rerouted at each call; models built inside take an implementation the switch can reach. Under
    a request that bars FlashAttention its kernels raise `ForbiddenError` instead of running.

    Args:
        request: a backend, a family, "no-flash", "auto", a policy file, or a policy as a mapping.
        override: let it win over a contradicting request in the environment.

    Raises:
        RequestError, PolicyError: the request cannot be read (at construction), or contradicts
            the environment's (on entering).
        UnavailableError: it cannot be met on this machine (on entering).
    """

    def __init__(self, request: RequestLike, *, source: str = "use()", override: bool = False):
        self.request = as_request(request, source, override=override)
        self._entered: list[Choice] = []

    def _recreate_cm(self) -> use:
        return use(self.request)

    def __enter__(self) -> Choice:
        choice = put_in_force(self.request)
        self._entered.append(choice)
        return choice

    def __exit__(self, *exception: object) -> None:
        withdraw(self._entered.pop())


# How to take back each request that is in force, and the request, by the identity of its choice.
_ways_back: dict[int, ExitStack] = {}
_requests: dict[int, Request] = {}


def put_in_force(request: Request) -> Choice:
    """Arm the process with `request`; the returned choice is what `withdraw` takes back.

    Raises:
        UnavailableError: it cannot be met on this machine; nothing has changed then.
        RequestError: it contradicts the environment's request, and neither is an override.
    """
    torch = require_torch()
    from attnswitch.seams import (
        checkpointing,
        compiled,
        fastpath,
        name,
        operator,
        package,
        refusion,
    )

    choice = _choice_for_process(torch, request)
    request, choice, overrides = _against_ruling(torch, request, choice)
    operator.install()
    checkpointing.install()
    refusion.install()
    _install_name_seam()
    with ExitStack() as undo:
        undo.callback(lambda: compiled.forget(_tag()))
        undo.callback(name.rest)
        if overrides:
            undo.callback(guard.suspend())
        if choice.bars_flash:
            holder = f"{choice.source} asking for {choice.requested!r}"
            guard.raise_up(holder)
            undo.callback(guard.let_down, holder)
        if any(possible.backend != "auto" for possible in choice.possible):
            fastpath.hold()
            undo.callback(fastpath.release)
            package.hold()
            undo.callback(package.release)
        intent.push_process(choice)
        undo.callback(intent.remove_process, choice)
        compiled.forget(_tag())
        _ways_back[id(choice)], _requests[id(choice)] = undo.pop_all(), request
    return choice


def withdraw(choice: Choice) -> None:
    """Take back what `put_in_force` did; requests under it are in force again."""
    _requests.pop(id(choice), None)
    _ways_back.pop(id(choice)).close()


def _choice_for_process(torch: Any, request: Request) -> Choice:
    # A model loaded under the request may have attention code of its own, so eager is possible.
    call = replace(_circumstances(torch), has_eager=True)
    choice = choose_for_process(
        request, call, _machine(request), missing_packages=missing_packages(), where=current_place
    )
    return replace(choice)  # one of its own, since the way back is kept by identity


def _against_ruling(torch: Any, request: Request, choice: Choice) -> tuple[Request, Choice, bool]:
    """What holds against the request in force, and whether it overrides that."""
    ruling = intent.of_process()
    asked = _requests.get(id(ruling)) if ruling is not None else None
    if ruling is None or asked is None:
        return request, choice, False
    outcome = settle(request, (choice,), asked, (ruling,))
    if outcome == "further overrides":
        _say_overridden(request, asked)
        return asked, _choice_for_process(torch, asked), False
    return request, choice, outcome == "nearer overrides"


def _say_overridden(request: Request, by: Request) -> None:
    warnings.warn(
        f"attnswitch: {request.source} asks for {request.word!r}, which is overridden by "
        f"{by.source} asking for {by.word!r}",
        stacklevel=4,
    )


def _tag() -> str:
    choice = intent.of_process()
    if isinstance(choice, RuledChoice):
        policy = _requests[id(choice)].policy if id(choice) in _requests else None
        return f"rules-{hashlib.sha256(repr(policy).encode()).hexdigest()[:16]}"
    if choice is not None and choice.backend != "auto":
        return choice.backend
    return "as-written" if intent.refusion_barred() else ""


def _install_name_seam() -> None:
    """transformers and LLaVA's patches are switched if they are there, or when they come."""
    from attnswitch.seams import llava_patches, name

    llava_patches.install()
    name.install()


def _machine(request: Request) -> dict[str, Any]:
    """What rules may ask of this process: versions and environment variables."""
    return machine_facts(request.policy, version_of, os.environ) if request.policy else {}


def _circumstances(torch: Any, model: Any = None) -> Circumstances:
    """Device and dtype of a model's first floating-point weight, or of the process."""
    device, dtype = ("cuda" if torch.cuda.is_available() else "cpu"), None
    if model is not None:
        for parameter in model.parameters():
            if parameter.is_floating_point():
                device, dtype = parameter.device.type, str(parameter.dtype).removeprefix("torch.")
                break
    capability = torch.cuda.get_device_capability() if device == "cuda" else None
    return Circumstances(device=device, dtype=dtype, capability=capability)


@dataclass
class Plan:
    """What `apply` decided for each site of a model, and the way back."""

    request: Request
    choices: dict[str, Choice]
    _undo: list[Callable[[], None]] = field(default_factory=list, repr=False)
    _number: int = field(default_factory=itertools.count(1).__next__, repr=False)

    def undo(self) -> None:
        """Put the model back as it was; calling it again does nothing."""
        while self._undo:
            self._undo.pop()()

    def backends(self) -> dict[str, str]:
        """{site path: backend}; "by call" where rules decide at each call."""
        return {path: choice.backend for path, choice in self.choices.items()}

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.undo()


def apply(
    model: Any, request: RequestLike, *, source: str = "apply()", override: bool = False
) -> Plan:
    """Switch the attention of one model, for good or until the plan's `undo()`.

    The newest plan of a model, or of a part of it, is in force; plans can be undone in any order.
    Every attention module gets a backend: those that follow transformers' table of attention
    functions are routed there, those that call PyTorch's scaled_dot_product_attention at that
    operator. Other models in the process are left alone. While the model runs under a request
    that bars FlashAttention, its kernels raise on that thread; under rules that bar it at some
    sites, they raise there.

    Args:
        model: any torch module; LLaVA's vision tower, projector and language model all obey.
        request: as for `use`.
        override: let it win over a contradicting request for the process.

    Returns:
        The plan: `plan.choices[path]` says which backend each site uses and why.

    Raises:
        RequestError, PolicyError: the request cannot be read, or contradicts the process's.
        UnavailableError: a site cannot obey; the model is left as it was.
    """
    torch = require_torch()
    asked = as_request(request, source, override=override)
    sites = find_sites(model)
    if not sites and asked.kind != "auto":
        raise ModelInputError(
            f"{type(model).__name__} has no attention module that attnswitch recognises; "
            "use attnswitch.use() to switch the whole process instead"
        )
    choices = _choices(torch, model, sites, asked)
    asked, choices, overrides = _model_against_ruling(torch, model, sites, asked, choices)
    _warn_of_globs(asked, sites)
    plan = Plan(asked, choices)
    try:
        _carry_out(model, {p: m for p, (_, m) in sites.items()}, plan, overrides)
    except BaseException:
        plan.undo()
        raise
    return plan


def _choices(
    torch: Any, model: Any, sites: Mapping[str, tuple[Site, Any]], asked: Request
) -> dict[str, Choice]:
    machine = _machine(asked)
    choices: dict[str, Choice] = {}
    refused: dict[str, UnavailableError] = {}
    for path, (site, module) in sites.items():
        try:
            choices[path] = _choose(torch, model, module, site, asked, machine)
        except UnavailableError as error:
            refused[path] = error
    if refused:
        raise refusal(refused, choices, asked)
    return choices


def _model_against_ruling(
    torch: Any,
    model: Any,
    sites: Mapping[str, tuple[Site, Any]],
    asked: Request,
    choices: dict[str, Choice],
) -> tuple[Request, dict[str, Choice], bool]:
    """What holds against the process's request, and whether it overrides that.

    FlashAttention for a model while it is barred for the process is a contradiction always.
    """
    ruling = intent.of_process()
    said = _requests.get(id(ruling)) if ruling is not None else None
    if ruling is None or said is None:
        return asked, choices, False
    outcome = settle(asked, tuple(choices.values()), said, (ruling,))
    if outcome == "further overrides":
        _say_overridden(asked, said)
        return said, _choices(torch, model, sites, said), False
    possible = [c for choice in choices.values() for c in choice.possible]
    wants_flash = any(c.backend in ("flash", "flash_attn") for c in possible)
    if outcome == "nearer" and ruling.bars_flash and wants_flash:
        raise RequestError(
            f"{asked.source} asks for {asked.word!r}, but {ruling.source} asks for "
            f"{ruling.requested!r} in this whole process; withdraw one of them"
        )
    return asked, choices, outcome == "nearer overrides"


def _warn_of_globs(asked: Request, sites: Mapping[str, Any]) -> None:
    for complaint in globs_without_site(asked, list(sites)):
        warnings.warn(f"attnswitch: {complaint}", stacklevel=3)


def _choose(
    torch: Any, model: Any, module: Any, site: Site, request: Request, machine: Mapping[str, Any]
) -> Choice:
    known = _circumstances(torch, module if any(True for _ in module.parameters()) else model)
    sdpa = takes_sdpa(model, site)
    call = Circumstances(
        device=known.device, dtype=known.dtype, capability=known.capability,
        head_dim=getattr(module, "head_dim", None),
        has_eager=site.reach != "operator", has_sdpa=sdpa,
    )  # fmt: skip
    site = replace(site, sdpa=sdpa)
    choice = choose(request, call, machine, missing_packages=missing_packages(), site=site)
    if not sdpa and isinstance(choice, RuledChoice):
        # Whatever the call, its own code runs.
        return replace(choice.outcomes[0], rule="its own code is all that can run here")
    return choice


def _carry_out(model: Any, modules: dict[str, Any], plan: Plan, overrides: bool) -> None:
    from attnswitch.seams import compiled, model_hooks, model_switch

    entries = find_entries(model, plan.choices)
    model_switch.carry_out(model, modules, plan.choices, entries, plan._number, plan._undo)
    if not plan._undo:
        return
    if overrides:
        for entry in entries:
            permit = model_hooks.permit_while_running(entry, plan.request.source, plan._number)
            plan._undo.append(permit)
    plan._undo.insert(0, lambda: compiled.forget(_tag()))  # the last thing that undo() does
    compiled.forget(_tag())
