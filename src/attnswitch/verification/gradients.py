"""Gradients: the backward of every attention call judged, and the gradients of the weights.

Local: each call's q, k, v and upstream gradient go through every backend's backward, the
yardstick's and float64's; the pass goes on with the yardstick's. Propagated: the gradients of the
attention modules' own weights after a whole forward and backward, against the exact run's.

FlashAttention's own tests allow gradients 3 times the plain implementation's error
(Dao-AILab/flash-attention, tests/test_flash_attn.py), and so does this. Besides, an error of
20 units in the last place of float32 is allowed: fast kernels take the exponential that exactly
(PyTorch's `exp_u20`), whatever the dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from attnswitch.errors import AttnSwitchError
from attnswitch.policy.requests import Request
from attnswitch.sites import find_sites
from attnswitch.switch import apply
from attnswitch.types import Site
from attnswitch.verification.answering import Place, answering, rows_that_count
from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.backward import AnsweredBackward
from attnswitch.verification.carriers import carry_out
from attnswitch.verification.exact_run import exactly
from attnswitch.verification.gradient_formula import gradients
from attnswitch.verification.gradient_symptoms import diagnose_gradients
from attnswitch.verification.loss import next_token_loss, requiring_grad
from attnswitch.verification.passes import Pass
from attnswitch.verification.pooling import Pool
from attnswitch.verification.rule import Judgement

FACTOR = 3.0
SLACK = 20 * 2.0**-23
KEPT = 16 * 2**10  # numbers of a weight's gradient that are compared
INPUTS = ("query", "key", "value")


@dataclass
class GradientSite:
    """What was found at one site; pools by (who, "query" | "key" | "value") and by who."""

    site: Site
    local: dict[tuple[str, str], Pool] = field(default_factory=dict)
    propagated: dict[str, Pool] = field(default_factory=dict)
    symptoms: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    def local_judgements(self, who: str) -> dict[str, Judgement]:
        """{"query", "key", "value": the rule}."""
        return {
            name: self.local[who, name].judgement()
            for name in INPUTS
            if (who, name) in self.local and self.local[who, name].count
        }

    def passes(self, who: str) -> bool:
        """Whether all three gradients are within the allowed error."""
        return all(one.passes for one in self.local_judgements(who).values())


def verify_gradients(
    model: Any,
    requests: Mapping[str, Request],
    backends: Mapping[str, Mapping[str, str]],
    one: Pass,
    *,
    seed: int = 0,
) -> dict[str, GradientSite]:
    """Judge the backward at every site of one forward and backward of the next-token loss.

    Raises:
        AttnSwitchError: no attention call was part of the loss.
    """
    sites = {path: GradientSite(site) for path, (site, _) in find_sites(model).items()}
    weights = _Weights(model, seed)

    def judged(place: Place, call: AttentionCall) -> torch.Tensor:
        def backward(call: AttentionCall, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return _judge(place, call, grad, backends, sites, one.padding)

        return AnsweredBackward.answer(call, backward)

    with weights.wanted():
        with answering(model, judged):
            standard = weights.gradients(one.inputs)
        if not any(found.calls for found in sites.values()):
            raise AttnSwitchError("no attention call was part of the loss: nothing to judge")
        truth, _ = exactly(model, one.inputs, weights.gradients)
        for who, request in requests.items():
            with apply(model, request):
                own = weights.gradients(one.inputs)
            for (path, name), part in own.items():
                pool = sites[path].propagated.setdefault(who, Pool(FACTOR, SLACK))
                pool.add(part, standard[path, name], truth[path, name])
    return {path: found for path, found in sites.items() if found.calls}


def _judge(
    place: Place,
    call: AttentionCall,
    grad: torch.Tensor,
    backends: Mapping[str, Mapping[str, str]],
    sites: dict[str, GradientSite],
    padding: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """The yardstick's gradients [like query, key, value]; the others are judged beside them."""
    found = sites.setdefault(place.site.path, GradientSite(place.site))
    found.calls += 1
    theirs = {
        who: _through(backends[who].get(place.site.path), place, call, grad) for who in backends
    }
    whole = tuple(torch.empty_like(t) for t in (call.query, call.key, call.value))
    counting = rows_that_count(place.site, call.query.shape[0], call.query.shape[-2], padding)
    pairs = zip(gradients(call, grad, exact=False), gradients(call, grad, exact=True), strict=True)
    for standard, exact in pairs:
        for number, name in enumerate(INPUTS):
            where = (standard.batch, standard.heads if name == "query" else standard.groups)
            whole[number][where] = getattr(standard, name)
            for who, given in theirs.items():
                if given is None:
                    continue
                pool = found.local.setdefault((who, name), Pool(FACTOR, SLACK))
                parts = [given[number][where], getattr(standard, name), getattr(exact, name)]
                if name == "query" and counting is not None:
                    parts = [t[:, :, counting[standard.batch][0]] for t in parts]
                pool.add(*parts)
    for who, given in theirs.items():
        if given is not None and who not in found.symptoms and not found.passes(who):
            wrong = [name for name, j in found.local_judgements(who).items() if not j.passes]
            found.symptoms[who] = diagnose_gradients(call, grad, given, wrong)
    return whole


def _through(
    backend: str | None, place: Place, call: AttentionCall, grad: torch.Tensor
) -> tuple[torch.Tensor, ...] | None:
    """A backend's own gradients of query, key and value."""
    if backend is None:
        return None
    with torch.enable_grad():
        query, key, value = (
            t.detach().requires_grad_() for t in (call.query, call.key, call.value)
        )
        # A learned mask's own gradient is not judged here: its weight's is, in whole runs.
        mask = call.attn_mask if call.attn_mask is None else call.attn_mask.detach()
        fresh = AttentionCall(query, key, value, mask, call.is_causal, call.scale)
        out = carry_out(backend, place, fresh)
        return torch.autograd.grad(out, (query, key, value), grad.to(out.dtype))


class _Weights:
    """Some numbers of the gradient of every attention module's weights, the same in every run."""

    def __init__(self, model: Any, seed: int):
        self._model, self._seed = model, seed
        self._named = {
            (path, name): weight
            for path, (_, module) in find_sites(model).items()
            for name, weight in module.named_parameters()
            if weight.is_floating_point()
        }

    def wanted(self) -> Any:
        """A block in which these weights take gradients, frozen ones too."""
        return requiring_grad(list(self._named.values()))

    def gradients(self, inputs: Mapping[str, Any]) -> dict[tuple[str, str], torch.Tensor]:
        """{(site path, weight): some of its gradient} of the next-token loss."""
        with torch.enable_grad():
            loss = next_token_loss(self._model, inputs)
            found = torch.autograd.grad(loss, list(self._named.values()), allow_unused=True)
        return {
            key: self._some(gradient)
            for key, gradient in zip(self._named, found, strict=True)
            if gradient is not None
        }

    def _some(self, gradient: torch.Tensor) -> torch.Tensor:
        flat = gradient.flatten()
        if len(flat) <= KEPT:
            return flat
        generator = torch.Generator().manual_seed(self._seed)
        return flat[torch.randint(len(flat), (KEPT,), generator=generator).to(flat.device)]
