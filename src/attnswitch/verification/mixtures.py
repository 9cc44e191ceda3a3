"""Run a model with one backend at some sites and another at the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from attnswitch.backends import exact
from attnswitch.verification.answering import Place, answering
from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.carriers import carry_out
from attnswitch.verification.passes import Pass, greedy


class Mixture:
    """`switched` sites use `theirs`, all others `own`; both are {site path: backend}."""

    def __init__(
        self, own: Mapping[str, str], theirs: Mapping[str, str], switched: Collection[str]
    ):
        self._backends = {p: theirs.get(p, b) if p in switched else b for p, b in own.items()}

    def _answer(self, place: Place, call: AttentionCall) -> torch.Tensor:
        backend = self._backends.get(place.site.path)
        if backend is None:
            return call.carried_out_by(exact.yardstick)
        return carry_out(backend, place, call)

    def logits(self, model: Any, one: Pass) -> torch.Tensor:
        """[rows, V] of a pass."""
        with answering(model, self._answer):
            return one.run(model)

    def tokens(self, model: Any, one: Pass, max_new_tokens: int) -> list[int]:
        """Greedy tokens after the pass's prompt."""
        with answering(model, self._answer):
            return greedy(model, one.inputs, max_new_tokens)
