"""The switch: a request carried out on one model (`apply`) or on this process (`use`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ContextDecorator, ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from attnswitch import guard, intent
from attnswitch.backends.catalogue import family_of
from attnswitch.environment import missing_packages, require_torch
from attnswitch.errors import ModelInputError, RequestError
from attnswitch.policy.files import read_policy, request_from_mapping
from attnswitch.policy.requests import Request, parse_request
from attnswitch.policy.resolve import resolve
from attnswitch.sites import find_entries, find_sites
from attnswitch.types import Choice, Circumstances, Site

RequestLike = str | Request | Mapping[str, Any]


def as_request(request: RequestLike, source: str) -> Request:
    """Read a request from a word, a policy file's path, a mapping, or a Request.

    Raises:
        RequestError, PolicyError: it says nothing that can be asked for.
    """
    if isinstance(request, Request):
        return request
    if isinstance(request, Mapping):
        return request_from_mapping(request, source)
    parsed = parse_request(request, source)
    return read_policy(parsed.word, source) if parsed.kind == "policy" else parsed


class use(ContextDecorator):
    """Put a request in force for this whole process, other threads included, for a while.

        with attnswitch.use("standard"):
            model.generate(...)

    Also a decorator. What reaches attention through PyTorch's scaled_dot_product_attention is
    rerouted at each call; models built inside take an implementation the switch can reach. Under
    a request that bars FlashAttention its kernels raise `ForbiddenError` instead of running.

    Args:
        request: a backend, a family, "no-flash", "auto", a policy file, or a policy as a mapping.

    Raises:
        RequestError, PolicyError: the request cannot be read (at construction).
        UnavailableError: it cannot be met on this machine (on entering).
    """

    def __init__(self, request: RequestLike, *, source: str = "use()"):
        self.request = as_request(request, source)
        self._entered: list[Choice] = []

    def _recreate_cm(self) -> use:
        return use(self.request)

    def __enter__(self) -> Choice:
        choice = put_in_force(self.request)
        self._entered.append(choice)
        return choice

    def __exit__(self, *exception: object) -> None:
        withdraw(self._entered.pop())


# How to take back each request that is in force, by the identity of its choice.
_ways_back: dict[int, ExitStack] = {}


def put_in_force(request: Request) -> Choice:
    """Arm the process with `request`; the returned choice is what `withdraw` takes back.

    Raises:
        UnavailableError: it cannot be met on this machine; nothing has changed then.
    """
    torch = require_torch()
    from attnswitch.seams import checkpointing, compiled, fastpath, operator, package, refusion

    # A model loaded under the request may have attention code of its own, so eager is possible.
    call = replace(_circumstances(torch), has_eager=True)
    choice = resolve(request, call, missing_packages=missing_packages())
    operator.install()
    checkpointing.install()
    refusion.install()
    _install_name_seam()
    with ExitStack() as undo:
        undo.callback(lambda: compiled.forget(_tag()))
        if choice.bars_flash:
            holder = f"{choice.source} asking for {choice.requested!r}"
            guard.raise_up(holder)
            undo.callback(guard.let_down, holder)
        if choice.backend != "auto":
            fastpath.hold()
            undo.callback(fastpath.release)
            package.hold()
            undo.callback(package.release)
        intent.push_process(choice)
        undo.callback(intent.remove_process, choice)
        compiled.forget(_tag())
        _ways_back[id(choice)] = undo.pop_all()
    return choice


def withdraw(choice: Choice) -> None:
    """Take back what `put_in_force` did; requests under it are in force again."""
    _ways_back.pop(id(choice)).close()


def _tag() -> str:
    choice = intent.of_process()
    if choice is not None and choice.backend != "auto":
        return choice.backend
    return "as-written" if intent.refusion_barred() else ""


def _install_name_seam() -> None:
    """transformers and LLaVA's patches are switched if they are there, or when they come."""
    from attnswitch.seams import llava_patches, name

    llava_patches.install()
    name.install()


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

    def undo(self) -> None:
        """Put the model back as it was; calling it again does nothing."""
        while self._undo:
            self._undo.pop()()

    def backends(self) -> dict[str, str]:
        """{site path: backend}."""
        return {path: choice.backend for path, choice in self.choices.items()}

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.undo()


def apply(model: Any, request: RequestLike, *, source: str = "apply()") -> Plan:
    """Switch the attention of one model, for good or until the plan's `undo()`.

    Every attention module gets a backend: those that follow transformers' table of attention
    functions are routed there, those that call PyTorch's scaled_dot_product_attention at that
    operator. Other models in the process are left alone. While the model runs under a request
    that bars FlashAttention, its kernels raise on that thread.

    Args:
        model: any torch module; LLaVA's vision tower, projector and language model all obey.
        request: as for `use`.

    Returns:
        The plan: `plan.choices[path]` says which backend each site uses and why.

    Raises:
        RequestError, PolicyError: the request cannot be read.
        UnavailableError: a site cannot obey; the model is left as it was.
    """
    torch = require_torch()
    asked = as_request(request, source)
    sites = find_sites(model)
    if not sites and asked.kind != "auto":
        raise ModelInputError(
            f"{type(model).__name__} has no attention module that attnswitch recognises; "
            "use attnswitch.use() to switch the whole process instead"
        )
    choices = {path: _choose(torch, model, module, site, asked)
               for path, (site, module) in sites.items()}  # fmt: skip
    _refuse_conflict(asked, choices)
    plan = Plan(asked, choices)
    try:
        _carry_out(model, {p: m for p, (_, m) in sites.items()}, plan)
    except BaseException:
        plan.undo()
        raise
    return plan


def _refuse_conflict(asked: Request, choices: dict[str, Choice]) -> None:
    """FlashAttention for a model, while it is barred for the process, is a contradiction."""
    ruling = intent.of_process()
    wants_flash = any(c.backend in ("flash", "flash_attn") for c in choices.values())
    if ruling is not None and ruling.bars_flash and wants_flash:
        raise RequestError(
            f"{asked.source} asks for {asked.word!r}, but {ruling.source} asks for "
            f"{ruling.requested!r} in this whole process; withdraw one of them"
        )


def _choose(torch: Any, model: Any, module: Any, site: Site, request: Request) -> Choice:
    known = _circumstances(torch, module if any(True for _ in module.parameters()) else model)
    owner = _owner_class(model, site.path)
    sdpa = site.reach == "operator" or (
        site.reach == "interface" and bool(getattr(owner, "_supports_sdpa", True))
    )
    call = Circumstances(
        device=known.device, dtype=known.dtype, capability=known.capability,
        head_dim=getattr(module, "head_dim", None),
        has_eager=site.reach != "operator", has_sdpa=sdpa,
    )  # fmt: skip
    return resolve(request, call, missing_packages=missing_packages(), site=site)


def _owner_class(model: Any, path: str) -> type:
    """The class of the innermost transformers model around a site (or of the model itself)."""
    owner, module = type(model), model
    for name in path.split("."):
        module = getattr(module, name)
        if hasattr(module, "_supports_sdpa"):
            owner = type(module)
    return owner


def _carry_out(model: Any, modules: dict[str, Any], plan: Plan) -> None:
    import torch

    from attnswitch.seams import compiled, interface, model_hooks, operator, refusion

    active = {path: c for path, c in plan.choices.items() if c.backend != "auto"}
    if not active:
        return
    refusion.install()
    interface_sites = [p for p, c in active.items() if c.site and c.site.reach == "interface"]
    if interface_sites:
        interface.hold()
        plan._undo.append(interface.release)
        names = {p: "eager" if active[p].backend == "eager" else "sdpa" for p in interface_sites}
        plan._undo.append(model_hooks.rename(model, names))
    for path, choice in active.items():
        plan._undo.append(model_hooks.mark(modules[path], choice))
        if choice.site and choice.site.reach == "operator":
            operator.install()
            plan._undo.append(model_hooks.push_while_running(modules[path], choice))
            by_hand = isinstance(modules[path], torch.nn.MultiheadAttention)
            if by_hand and family_of(choice.backend) != "standard":
                plan._undo.append(model_hooks.refuse_weights(modules[path], choice))
    if all(choice.bars_flash for choice in plan.choices.values()):
        intent.begin_barring_plan(plan)
        plan._undo.append(lambda: intent.end_barring_plan(plan))
        first = next(iter(active.values()))
        holder = f"{first.source} asking for {first.requested!r}"
        for entry in find_entries(model, plan.choices):
            plan._undo.append(model_hooks.bar_while_running(entry, holder))
    plan._undo.insert(0, lambda: compiled.forget(_tag()))  # the last thing that undo() does
    compiled.forget(_tag())
