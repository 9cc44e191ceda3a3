"""Make workloads ready to run: a model with its own or with random weights, or attention alone."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from attnswitch.bench.workload import Piece, Ready, Workload
from attnswitch.errors import UnavailableError
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
        self._inputs: tuple[Any, Mapping[str, Any]] | None = None

    def ready(self, workload: Workload) -> Ready:
        """The workload, ready to run; random numbers are drawn from one seed.

        Raises:
            ModelInputError: no such subject or no such phase of it.
            UnavailableError: it cannot be loaded or does not fit into memory.
        """
        import torch

        torch.manual_seed(SEED)
        shape = find_geometry(workload.subject)
        if workload.part == "attention":
            from attnswitch.bench.attention_alone import attention_alone

            return attention_alone(shape, workload)
        from attnswitch.bench.phases import phase_call

        model = self._model_of(workload, shape)
        call = phase_call(model, self._inputs_of(workload, shape), workload.phase)
        return Ready(workload, model, [Piece(call)])

    def _model_of(self, workload: Workload, shape: Geometry) -> Any:
        key = (workload.subject, workload.kind, workload.dtype, workload.device)
        if key != self._key:
            self._model, self._inputs = None, None
            gc.collect()  # two models at once may not fit
            self._model, self._key = self._make(workload, shape), key
        return self._model

    def _make(self, workload: Workload, shape: Geometry) -> Any:
        if workload.kind == "model":
            from attnswitch.models.load import load_model

            name = None if workload.subject == DEMO else workload.subject
            return load_model(
                name, dtype=workload.dtype, device=workload.device, trust_remote_code=self._trust
            ).model
        from attnswitch.geometries.building import build_model

        try:
            return build_model(shape, device=workload.device, dtype=workload.dtype)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise UnavailableError(
                f"{workload.subject} does not fit into this machine's memory",
                remedy="Its attention does: --attention-only",
            ) from error

    def _inputs_of(self, workload: Workload, shape: Geometry) -> Mapping[str, Any]:
        import torch

        from attnswitch.geometries.inputs import make_inputs
        from attnswitch.geometries.samples import sample

        asked = (workload.size, workload.batch, self._key)
        if self._inputs is None or self._inputs[0] != asked:
            self._inputs = asked, make_inputs(
                shape, sample(shape, **workload.size), batch=workload.batch,
                dtype=getattr(torch, workload.dtype), device=workload.device, seed=SEED,
            )  # fmt: skip
        return self._inputs[1]
