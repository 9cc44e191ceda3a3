"""Explain a request on a model or its configuration: for each site what would run, and why.

Rules are settled as far as the configuration and the machine allow; what only a call can tell
(lengths, masks, batch) stays as a condition, and such a site has a line for each outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from attnswitch.backends.catalogue import CATALOGUE, FASTEST_FIRST, ROUTED_DEVICES, decide
from attnswitch.errors import ModelInputError, UnavailableError
from attnswitch.explaining.advice import advice
from attnswitch.explaining.machines import Machine, machine
from attnswitch.policy.facts import facts_of_circumstances, facts_of_site
from attnswitch.policy.requests import Request
from attnswitch.policy.resolve import resolve
from attnswitch.policy.rules import Policy, Remaining
from attnswitch.sites import find_sites, takes_sdpa
from attnswitch.switch import RequestLike, as_request
from attnswitch.types import Circumstances, Refused, Site

SCHEMA = "attnswitch.explanation/1"


@dataclass(frozen=True)
class Explanation:
    """What would run. `record` is `attnswitch.explanation/1`; `met` whether every site can obey."""

    record: dict[str, Any]

    @property
    def met(self) -> bool:
        """Whether something can run everywhere under the request."""
        return all(line["planned"] is not None for line in self.record["sites"])

    def to_json(self) -> dict[str, Any]:
        """The record, plain JSON data."""
        return self.record

    def __str__(self) -> str:
        from attnswitch.report.explanation_text import explanation_text

        return explanation_text(self.record)


def explain(
    model_or_config: Any,
    request: RequestLike = "flash",
    *,
    on: str | None = None,
    dtype: str | None = None,
    source: str = "explain()",
) -> Explanation:
    """Say what would run where under a request; nothing is run and no weight is read.

    Args:
        model_or_config: a torch module, a transformers configuration, a checkpoint's folder or
            hub id (its config.json is all that is read), or None for the built-in model.
        request: as for `use`.
        on: a hardware profile ("v100", "rtx 3090", "cpu-amx"); None is this machine.
        dtype: long or short; None is the model's own.

    Raises:
        RequestError, PolicyError: the request cannot be read.
        ModelInputError: no such model or dtype, or one without attention modules.
        InputError: no such hardware profile.
    """
    from attnswitch.models.placement import dtype_name
    from attnswitch.models.skeleton import skeleton

    asked = as_request(request, source)
    there = machine(on)
    model, own_dtype = skeleton(model_or_config)
    dtype = dtype_name(dtype) if dtype is not None else own_dtype
    sites = find_sites(model)
    if not sites:
        raise ModelInputError(
            f"{type(model).__name__} has no attention module that attnswitch recognises"
        )
    lines = [
        line
        for site, module in sites.values()
        for line in _lines(asked, there, dtype, _knowing_sdpa(model, site), module)
    ]
    record = {
        "schema": SCHEMA,
        "model": type(model).__name__,
        "request": {"word": asked.word, "source": asked.source},
        "machine": there.to_json(dtype),
        "sites": lines,
        "advice": advice(there, dtype, lines),
    }
    return Explanation(record)


def _knowing_sdpa(model: Any, site: Site) -> Site:
    return replace(site, sdpa=takes_sdpa(model, site))


def _lines(
    asked: Request, there: Machine, dtype: str | None, site: Site, module: Any
) -> Iterator[dict[str, Any]]:
    call = replace(
        there.circumstances(dtype), head_dim=getattr(module, "head_dim", None),
        has_eager=site.reach != "operator", has_sdpa=site.sdpa,
    )  # fmt: skip
    vision = site.role in ("vision_tower", "projector")
    for phase in ("vision",) if vision else ("prefill", "decode"):
        for one in _remaining(asked, there, call, site, phase):
            yield _line(one, there, call, site, phase, ruled=asked.policy is not None)


def _remaining(
    asked: Request, there: Machine, call: Circumstances, site: Site, phase: str
) -> tuple[Remaining, ...]:
    policy = asked.policy or Policy((), asked)
    facts = {**there.facts(), **facts_of_circumstances(call), **facts_of_site(site), "phase": phase}
    if phase == "decode":
        facts["q_length"] = 1
    return policy.remaining(facts)


def _line(
    one: Remaining, there: Machine, call: Circumstances, site: Site, phase: str, *, ruled: bool
) -> dict[str, Any]:
    rule = one.rule
    why = rule.because or (f"when {rule}" if rule.when else "")
    if not ruled:
        why = ""
    line: dict[str, Any] = {
        "site": site.path, "role": site.role, "phase": phase, "requested": rule.use.word,
        "when": " and ".join(map(str, one.left)), "source": rule.use.source,
    }  # fmt: skip
    try:
        choice = resolve(rule.use, call, missing_packages=there.missing, site=site)
    except UnavailableError as error:
        reasons = _every_refusal(rule.use, call, there)
        cannot = "cannot be met there"
        if call.device in ROUTED_DEVICES:
            cannot = f"{cannot}. {error.remedy}"
        return {**line, "planned": None, "rule": why or cannot, "refused": reasons}
    text = "; ".join(part for part in (why, choice.rule) if part)
    return {**line, "planned": choice.backend, "rule": text, "refused": _plain(choice.refused)}


def _every_refusal(
    request: Request, call: Circumstances, there: Machine
) -> list[Mapping[str, Any]]:
    """Why each backend that the request allows cannot serve, the fastest first."""
    allowed = [name for name in FASTEST_FIRST if request.word in (name, CATALOGUE[name].family)]
    allowed = allowed or [n for n in FASTEST_FIRST if CATALOGUE[n].family != "flash"]
    decisions = [decide(name, call, there.missing) for name in allowed]
    return _plain(tuple(d for d in decisions if isinstance(d, Refused)))


def _plain(refused: tuple[Refused, ...]) -> list[Mapping[str, Any]]:
    return [{"backend": r.backend, "reasons": list(r.reasons)} for r in refused]
