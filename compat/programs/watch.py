"""What ran at each attention module, by PyTorch's profiler alone: knows nothing of attnswitch.

    with Watch() as seen: model(...)
    seen.operators   # {"CLIPAttention": ["aten::_softmax"], "LlamaSdpaAttention": [...]}

As a program it runs a module, unmodified, and watches the second training step:

    python watch.py OUT.json -m llava.train.train_mem ARGUMENTS...
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import torch

# Operators that are attention, or the softmax of one written out.
TELLING = (
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_attention_math",
    "attnswitch::blockwise",
    "aten::_softmax",
)
PREFIX = "attention:"


class Watch:
    """Profiles a block of code with a range around every attention module's forward."""

    def __init__(self) -> None:
        self.operators: dict[str, list[str]] = {}

    def __enter__(self) -> Watch:
        module = torch.nn.modules.module
        self._open: list[Any] = []
        self._handles = [
            module.register_module_forward_pre_hook(self._enter),
            module.register_module_forward_hook(self._leave),
        ]
        self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        self._profile.__enter__()
        return self

    def _enter(self, module: Any, _: Any) -> None:
        if "Attention" in type(module).__name__:
            record = torch.profiler.record_function(PREFIX + type(module).__name__)
            record.__enter__()
            self._open.append(record)

    def _leave(self, module: Any, *_: Any) -> None:
        if "Attention" in type(module).__name__:
            self._open.pop().__exit__(None, None, None)

    def __exit__(self, *_: object) -> None:
        while self._open:  # of modules that an error left; open ones crash the interpreter's end
            self._open.pop().__exit__(None, None, None)
        self._profile.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()
        found: dict[str, set[str]] = {}
        for event in self._profile.events():
            if event.name.startswith(PREFIX):
                found.setdefault(event.name.removeprefix(PREFIX), set())
            if event.name in TELLING:
                found.setdefault(_module_around(event), set()).add(event.name)
        self.operators = {name: sorted(names) for name, names in sorted(found.items())}


def _module_around(event: Any) -> str:
    while event is not None:
        if event.name.startswith(PREFIX):
            return event.name.removeprefix(PREFIX)
        event = event.cpu_parent
    return "elsewhere"


def watch_training(target: Path) -> None:
    """Watch the second step of transformers' trainer and write what ran to `target`."""
    from transformers import Trainer

    plain, steps = Trainer.training_step, []

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(1)
        if len(steps) != 2:
            return plain(self, *args, **kwargs)
        with Watch() as seen:
            loss = plain(self, *args, **kwargs)
        target.write_text(json.dumps(seen.operators))
        return loss

    Trainer.training_step = training_step


if __name__ == "__main__":
    watch_training(Path(sys.argv[1]))
    torch.manual_seed(0)  # LLaVA makes its projector before its trainer seeds
    sys.argv = sys.argv[3:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
