"""What ran in this process, without a model at hand: `ATTNSWITCH_RECEIPT`, `run --receipt`.

Three watchers fill one ledger: whole passes of transformers models and of compiled modules
(`passes`), single SDPA calls outside those (`calls`), and a count at FlashAttention's own
operators, which sees every such kernel and checks the other two: what they missed is added
without a site. Other attention that none of them sees (a compiled function's own arithmetic, a
package's private kernel) is in no receipt.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from attnswitch import guard, intent
from attnswitch.operators import what_ran
from attnswitch.tracing.calls import CallWatcher
from attnswitch.tracing.disobeyed import disobeyed
from attnswitch.tracing.events import Seen
from attnswitch.tracing.ledger import Ledger
from attnswitch.tracing.passes import PassWatcher
from attnswitch.tracing.receipt_file import ReceiptFile
from attnswitch.types import Receipt

_process: ProcessTrace | None = None


def write_receipts_to(path: str, at_each_call: Callable[[Any], None]) -> None:
    """Watch this process from now on, and keep `path` up to date with what ran.

    `at_each_call` is told what to run around each SDPA call, `f(query, carry_out)`: standing at
    that operator is the seams' business, and the trace knows nothing of them.
    """
    global _process
    _process = ProcessTrace(path)
    _process.start(at_each_call)


class ProcessTrace:
    """The ledger of this process, and the file it goes to. A forked child starts afresh."""

    def __init__(self, path: str):
        self._path = path
        self._file = ReceiptFile(path, self.record)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._ledger = Ledger()
        self._flash: Counter[tuple[str, str]] = Counter()
        self._passes = PassWatcher(self._ledger, self._lock, self._changed)
        self._calls = CallWatcher(self._ledger, self._lock, self._changed)

    def start(self, at_each_call: Callable[[Any], None]) -> None:
        """Stand at the models, the operator and FlashAttention's own operators."""
        at_each_call(self._sdpa)
        if guard.can_pass_through():
            guard.prepare()
            guard.on_pass.append(self._flash_ran)
        self._stand_at_backward()
        _when_imported("transformers.modeling_utils", self._stand_at("PreTrainedModel"))
        _when_imported("torch._dynamo.eval_frame", self._stand_at("OptimizedModule"))
        os.register_at_fork(after_in_child=self._in_forked_child)
        self._file.claim()

    def _in_forked_child(self) -> None:
        self._reset()
        self._file = ReceiptFile(self._path, self.record)

    def _stand_at(self, class_name: str) -> Callable[[Any], None]:
        def stand(module: Any) -> None:
            self._wrap_call(getattr(module, class_name))

        return stand

    def _stand_at_backward(self) -> None:
        import torch

        engine = getattr(torch.autograd, "_engine_run_backward", None)
        if engine is None:
            return  # an older torch: backward is in no receipt

        @functools.wraps(engine)
        def run_backward(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return engine(*args, **kwargs)
            return self._passes.run_backward(engine, args, kwargs)

        torch.autograd._engine_run_backward = run_backward  # type: ignore[attr-defined]

    def _wrap_call(self, model_class: Any) -> None:
        """Calls of the class's instances pass by the watcher; nothing is left on an instance."""
        import torch

        original = model_class.__call__

        @functools.wraps(original)
        def __call__(model: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            if torch.compiler.is_compiling():
                return original(model, *args, **kwargs)
            forward = functools.partial(original, model)
            return self._passes.run(model, forward, args, kwargs)

        model_class.__call__ = __call__

    def _sdpa(self, query: Any, carry_out: Callable[[], Any]) -> Any:
        import torch

        inside = self._passes.inside or self._calls.inside
        if inside or type(query) not in (torch.Tensor, torch.nn.Parameter):
            return carry_out()
        return self._calls.run(query, carry_out)

    def _flash_ran(self, operator: str, args: tuple[Any, ...]) -> None:
        rows = args[0].shape[-2] if args and hasattr(args[0], "shape") else None
        self._passes.count_flash(operator)
        with self._lock:
            self._flash[operator, "decode" if rows == 1 else "prefill"] += 1
        if not self._passes.inside and not self._calls.inside:
            self._changed()

    def _changed(self) -> None:
        self._file.changed()

    def receipts(self) -> list[Receipt]:
        """Everything seen so far; FlashAttention that only the count at its operators saw too."""
        with self._lock:
            return [*self._ledger.receipts(), *self._unnoticed_flash()]

    def _unnoticed_flash(self) -> list[Receipt]:
        counted = Counter[str]()
        for (operator, _), times in self._flash.items():
            counted[operator] += times
        rest = Ledger()
        for operator, times in counted.items():
            missing = times - self._ledger.times_of([operator])
            ran = what_ran(operator)
            if missing > 0 and ran is not None:
                phases = {phase for (name, phase) in self._flash if name == operator}
                phase = phases.pop() if len(phases) == 1 else "prefill"
                seen = Seen(None, ran.backend, ran.family, [operator])
                rest.add_without_site(seen, phase, intent.of_process(), times=missing)
        return rest.receipts()

    def record(self) -> dict[str, Any]:
        """The record `attnswitch.trace/1`, with which process this was."""
        choice, receipts = intent.of_process(), self.receipts()
        return {
            "schema": "attnswitch.trace/1",
            "process": {
                "pid": os.getpid(),
                "parent": os.getppid(),
                "command": list(getattr(sys, "orig_argv", sys.argv)),
                "requested": choice.requested if choice else None,
                "guarded": guard.is_up(),
                "stopped": [str(trip) for trip in guard.tripped],
                "disobeyed": disobeyed(receipts),
            },
            "receipts": [receipt.to_json() for receipt in receipts],
        }


def _when_imported(name: str, step: Callable[[Any], None]) -> None:
    if name in sys.modules:
        step(sys.modules[name])
        return
    import wrapt

    wrapt.register_post_import_hook(step, name)


__all__ = ["ProcessTrace", "write_receipts_to"]
