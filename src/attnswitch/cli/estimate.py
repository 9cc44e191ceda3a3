"""`attnswitch estimate`: FLOPs, bytes, peak memory and a range of time, before anything is run."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "estimate",
        help="foretell FLOPs, bytes, peak memory and time with each backend; what fits",
        description="Foretell what a LLaVA will take with each attention backend: FLOPs, bytes, "
        "peak memory, a range of time; whether it fits into a memory, and the longest sequence and "
        "largest batch that do. No weights are needed and nothing is run.",
    )
    parser.add_argument("--geometry", metavar="NAME_OR_FOLDER",
                        help="a LLaVA by name, such as llava-v1.6-34b, or a checkpoint's folder "
                        "(default: the built-in LLaVA)")  # fmt: skip
    _add_sample(parser)
    _add_run(parser)
    _add_machine(parser)
    parser.add_argument("--backends", metavar="A,B",
                        help="of flash, efficient, blockwise, math, eager (default: those that can "
                        "run there)")  # fmt: skip
    parser.add_argument("--attention-only", action="store_true",
                        help="the attention calls alone, not the whole model")  # fmt: skip
    parser.add_argument("--no-limits", action="store_true",
                        help="do not look for the longest sequence and largest batch")  # fmt: skip
    parser.add_argument("--no-seconds", action="store_true", help="no range of time")
    parser.add_argument("--check", action="store_true",
                        help="run it here, weigh it, and compare (exit status 1 where peak memory "
                        "is more than 10 %% off)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the record (- for standard output)")
    parser.add_argument("--report", metavar="FILE.html", help="write a page to look at")
    parser.set_defaults(run=run)


def _add_sample(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what one sequence holds")
    group.add_argument("--image", metavar="WIDTHxHEIGHT",
                       help="a picture's size in pixels (default: 1024x768)")  # fmt: skip
    group.add_argument("--tiles", type=int, metavar="N",
                       help="instead: a picture of so many tiles, base view included")  # fmt: skip
    group.add_argument("--frames", type=int, metavar="N", help="instead: a video's frames")
    group.add_argument("--images", type=int, metavar="N", help="so many pictures (default: 1)")
    group.add_argument("--text-tokens", type=int, default=64, metavar="N", help="(default: 64)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is run")
    group.add_argument("--batch", type=options.positive, default=1, metavar="N")
    group.add_argument("--dtype", help="float32, bfloat16, float16 (default: the model's own)")
    group.add_argument("--new-tokens", type=int, default=256, metavar="N",
                       help="decoded after the prompt (default: 256)")  # fmt: skip
    group.add_argument("--train", metavar="WHAT",
                       help="a training step: full, frozen-tower, lora or projector")  # fmt: skip
    group.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    group.add_argument("--optimizer", default="adamw", metavar="NAME",
                       help="adamw, adamw-fp32, sgd, none (default: adamw)")  # fmt: skip
    group.add_argument("--lora-rank", type=options.positive, default=128, metavar="N")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where")
    group.add_argument("--on", metavar="CARD",
                       help="v100, t4, rtx3090, rtx4090, a10, a100, h100 ..., or a kind of machine "
                       "(default: this machine)")  # fmt: skip
    group.add_argument("--memory", metavar="AMOUNT",
                       help="does it fit into so much? such as 24GB (without --on: "
                       "a GPU's)")  # fmt: skip
    group.add_argument("--reserve", metavar="AMOUNT",
                       help="set aside of it for the GPU's context and libraries (default: 1GB on "
                       "a GPU)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Return 0; 1 where --check finds peak memory more than 10 % off."""
    for path in (arguments.json, arguments.report):
        options.check_output_path(path)
    from attnswitch.estimating.estimate import Asked, estimate

    scenario, where = _scenario(arguments)
    asked = Asked(
        arguments.backends.split(",") if arguments.backends else None,
        not arguments.attention_only, not arguments.no_limits, not arguments.no_seconds,
        curves=arguments.report is not None,
    )  # fmt: skip
    try:
        record = estimate(scenario, where, asked, options.progress)
        if arguments.check:
            from attnswitch.estimating.checking import add_measurements

            add_measurements(record, scenario, where, options.progress)
    finally:
        options.end_progress()
    _show(record, arguments)
    return 1 if record.get("check") and not record["check"]["agrees"] else 0


def _scenario(arguments: argparse.Namespace) -> tuple[Any, Any]:
    from attnswitch.errors import InputError
    from attnswitch.estimating import amounts
    from attnswitch.estimating.scenario import Scenario, Training, optimizer_of, trained_of
    from attnswitch.estimating.target import target
    from attnswitch.geometries.find import geometry
    from attnswitch.geometries.samples import sample
    from attnswitch.models.placement import dtype_name

    if arguments.new_tokens < 0:
        raise InputError(f"--new-tokens cannot be negative: {arguments.new_tokens}")
    memory, reserve = (
        amounts.bytes_of(text, option) if text is not None else None
        for text, option in ((arguments.memory, "--memory"), (arguments.reserve, "--reserve"))
    )
    where = target(arguments.on, memory, reserve)
    size = amounts.size_of(arguments.image, "--image") if arguments.image is not None else None
    training = None
    if arguments.train is not None:
        training = Training(
            trained_of(arguments.train), arguments.checkpointing,
            optimizer_of(arguments.optimizer), arguments.lora_rank,
        )  # fmt: skip
    elif arguments.checkpointing:
        raise InputError("--checkpointing is for training; say what is trained: --train lora")
    found = geometry(arguments.geometry)
    shown = sample(
        found, text_tokens=arguments.text_tokens, image_size=size, tiles=arguments.tiles,
        frames=arguments.frames, images=arguments.images,
    )  # fmt: skip
    dtype = dtype_name(arguments.dtype) if arguments.dtype is not None else found.dtype
    scenario = Scenario(
        found, shown, dtype, where.device, arguments.batch, arguments.new_tokens, training
    )
    return scenario, where


def _show(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from attnswitch.report.estimate_text import estimate_text

    to_stdout = arguments.json == "-"
    estimate_text(record, Console(file=sys.stderr if to_stdout else sys.stdout))
    if arguments.json:
        options.write_json(record, arguments.json)
    if arguments.report:
        from attnswitch.report.estimate_page import write_page

        write_page(record, arguments.report)
        print(f"report: {arguments.report}", file=sys.stderr)
