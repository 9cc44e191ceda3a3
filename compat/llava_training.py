"""LLaVA's own training, with tiny random weights: its arguments, its losses, what ran."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from compat.running import PROGRAMS, Finished, start

STEPS = 20
# A unit in the last place of bfloat16, relative, twice: one for each of the two runs compared.
BF16_STEP = 2 * 2**-8


@dataclass(frozen=True)
class Training:
    """A training run on its way; waits for its end when asked for anything."""

    future: Future[Finished]
    seen: Path
    output_folder: Path

    def finished(self) -> Finished:
        return self.future.result()

    def losses(self) -> list[float]:
        """The loss of each step, as LLaVA's trainer logs it."""
        output = self.finished().expect_success().output
        return [float(loss) for loss in re.findall(r"'loss': ([0-9.]+)", output)]

    def operators(self) -> dict[str, list[str]]:
        """{attention class: operators} of the second step, as the profiler saw them."""
        self.finished().expect_success()
        return json.loads(self.seen.read_text())


def start_training(
    environment: str,
    module: str,
    files: Path,
    folder: Path,
    *,
    attn: str | None = None,
    steps: int = STEPS,
    options: tuple[str, ...] = (),
    extra: Mapping[str, str] | None = None,
    fault: str | None = None,
) -> Training:
    """Start `python -m MODULE` in an environment, with the second step watched.

    `extra` are environment variables. With a `fault` of `programs/planted.py` the backend is wrong,
    and nothing is watched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen, output = folder / "seen.json", folder / "llava-tiny"
    words = ["-m", module, *arguments(files, output, steps, environment), *options]
    through = ["watch.py", seen] if fault is None else ["planted.py", fault]
    command = [PROGRAMS / through[0], through[1], *words]
    future = start(environment, command, attn=attn, cwd=folder, extra=extra)
    return Training(future, seen, output)


def far_apart(own: list[float], others: list[float]) -> list[str]:
    """The steps at which two runs' losses differ by more than bfloat16 explains."""
    return [
        f"step {step}: {a} and {b}"
        for step, (a, b) in enumerate(zip(own, others, strict=True))
        if abs(a - b) > BF16_STEP * a
    ]


def arguments(files: Path, output: Path, steps: int, environment: str) -> list[str]:
    """What a user of LLaVA passes to its training scripts, for a CPU and a tiny model.

    Transformers 4.31 has another name for the CPU. LLaVA 1.0 has no choice of projector, and
    keeps its tower in float16, which a CPU's autocast to bfloat16 does not take: float32 there.
    """
    first = environment.endswith("1.0")
    cpu = "--no_cuda True" if environment.startswith("4.31") else "--use_cpu True"
    projector = "" if first else "--mm_projector_type mlp2x_gelu --bf16 True"
    return f"""
        --model_name_or_path {files}/llm --version v1 --data_path {files}/data.json
        --image_folder {files}/images --vision_tower {files}/clip
        {projector} {cpu} --mm_vision_select_layer -2
        --mm_use_im_start_end False --mm_use_im_patch_token False
        --output_dir {output} --max_steps {steps} --per_device_train_batch_size 2
        --learning_rate 3e-4 --logging_steps 1 --save_strategy no --model_max_length 256
        --lazy_preprocess True --report_to none --gradient_checkpointing False --seed 0
        --disable_tqdm True
    """.split()
