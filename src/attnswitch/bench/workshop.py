"""Make workloads ready to run: a model with its own or with random weights, or attention alone."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

from attnswitch.bench.room import require_room
from attnswitch.bench.workload import Piece, Ready, Workload
from attnswitch.geometries.find import DEMO
from attnswitch.geometries.find import geometry as find_geometry
from attnswitch.geometries.geometry import Geometry

SEED = 0


class Workshop:
    """Keeps the model that was made last: the workloads of one model stand together in a grid.

    `trust_remote_code` is for checkpoints.
    """

    def __init__(self, *, trust_remote_code: bool = False):
        self._trust = trust_remote_code
        self._key: tuple[str, ...] = ()
        self._model: Any = None
        self._processor: Any = None
        self._inputs: tuple[Any, Mapping[str, Any]] | None = None

    def ready(self, workload: Workload) -> Ready:
        """The workload, ready to run; random numbers are drawn from one seed.

        Raises:
            ModelInputError: no such subject or no such phase of it.
            UnavailableError: it cannot be loaded or does not fit into memory.
        """
        import torch

        torch.manual_seed(SEED)
        if workload.part == "attention":
            from attnswitch.bench.attention_alone import attention_alone

            return attention_alone(find_geometry(workload.subject), workload)
        from attnswitch.bench.phases import phase_call

        shape = None if workload.is_question else find_geometry(workload.subject)
        self._have_model(workload, shape)
        call = phase_call(self._model, self._inputs_of(workload, shape), workload.phase)
        return Ready(workload, self._model, [Piece(call)])

    @property
    def trusts_remote_code(self) -> bool:
        """Whether a checkpoint's own code may run."""
        return self._trust

    def questions(
        self, subject: str, phases: Sequence[str], dtype: str | None, device: str
    ) -> list[Workload]:
        """Workloads of a checkpoint whose geometry is not known: the built-in picture's question.

        Raises:
            ModelInputError, UnavailableError: it cannot be loaded.
        """
        tiny = Workload(subject, "model", "whole", "prefill", 0, 1, dtype or "", device)
        self._have_model(tiny, None)
        tokens = self._inputs_of(tiny, None)["input_ids"].shape[1]
        name = str(self._model.dtype).removeprefix("torch.")
        self._key = (subject, "model", name, device)
        return [Workload(subject, "model", "whole", phase, tokens, 1, name, device)
                for phase in phases]  # fmt: skip

    def _have_model(self, workload: Workload, shape: Geometry | None) -> None:
        key = (workload.subject, workload.kind, workload.dtype, workload.device)
        is_there = key == self._key
        if not is_there:
            self._model = self._processor = self._inputs = None
            gc.collect()  # two models at once may not fit
        if shape is not None:
            require_room(shape, workload, weights_are_there=is_there)
        if is_there:
            return
        if workload.kind == "model":
            self._load(workload)
        else:
            from attnswitch.geometries.building import build_model

            assert shape is not None
            self._model = build_model(shape, device=workload.device, dtype=workload.dtype)
        self._key = key

    def _load(self, workload: Workload) -> None:
        from attnswitch.models.load import load_model

        loaded = load_model(
            None if workload.subject == DEMO else workload.subject,
            dtype=workload.dtype or None, device=workload.device, trust_remote_code=self._trust,
        )  # fmt: skip
        self._model, self._processor = loaded.model, loaded

    def _inputs_of(self, workload: Workload, shape: Geometry | None) -> Mapping[str, Any]:
        asked = (workload.size, workload.batch, self._key)
        if self._inputs is None or self._inputs[0] != asked:
            self._inputs = asked, self._make_inputs(workload, shape)
        return self._inputs[1]

    def _make_inputs(self, workload: Workload, shape: Geometry | None) -> Mapping[str, Any]:
        if shape is None:
            from attnswitch.models.describing import question
            from attnswitch.models.inputs import prepare_inputs

            return prepare_inputs(self._processor, *question(self._processor, None, None))
        import torch

        from attnswitch.geometries.inputs import make_inputs
        from attnswitch.geometries.samples import sample

        return make_inputs(
            shape, sample(shape, **workload.size), batch=workload.batch,
            dtype=getattr(torch, workload.dtype), device=workload.device, seed=SEED,
        )  # fmt: skip
