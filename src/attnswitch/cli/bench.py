"""`attnswitch bench`: what each way of attention costs, in time and memory."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options
from attnswitch.cli import record_options
from attnswitch.errors import InputError

DESCRIPTION = """\
Time and weigh a model, or a geometry (a LLaVA by name, with random weights), under several
requests, in turn: A B A B. Every finished row is kept in the record at once; Ctrl-C keeps what is
done.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="measure speed and memory over backends, lengths, batches, dtypes and phases",
        description=DESCRIPTION,
    )
    _add_subject_options(parser)
    _add_grid_options(parser)
    _add_measuring_options(parser)
    record_options.add_record_option(parser)
    parser.add_argument("--no-record", action="store_true", help="keep nothing")
    parser.add_argument("--label", default="", help="a name for these runs, to find them by")
    parser.add_argument("--project", metavar="FOLDER",
                        help="the project under test, whose commit is recorded (default: the git "
                        "repository around the current folder)")  # fmt: skip
    parser.add_argument("--resume", action="store_true",
                        help="take what the record has already, measured with this label, code, "
                        "machine and settings, and measure the rest")  # fmt: skip
    record_options.add_report_options(parser)
    parser.set_defaults(run=run)


def _add_subject_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="FOLDER_OR_ID",
                        help="a LLaVA-family checkpoint (default: the built-in LLaVA)")  # fmt: skip
    parser.add_argument("--geometry", nargs="+", metavar="NAME", default=[],
                        help="LLaVAs by name, with random weights: llava-1.5-7b, llava-v1.6-34b, "
                        "llava-onevision-0.5b ...; --list-geometries lists them")  # fmt: skip
    parser.add_argument("--list-geometries", action="store_true", help="list the names and exit")
    parser.add_argument("--attention-only", action="store_true",
                        help="attention alone: one layer's q, k, v, times the number of layers; "
                        "a 34B geometry fits a laptop so")  # fmt: skip
    parser.add_argument("--trust-remote-code", action="store_true",
                        help="run model code that a hub repository brings along")  # fmt: skip


def _add_grid_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backends", nargs="+", metavar="REQUEST",
                        help="what to measure (default: flash standard eager)")  # fmt: skip
    parser.add_argument("--baseline", metavar="REQUEST",
                        help="what the others are compared with (default: the first)")  # fmt: skip
    parser.add_argument("--phase", nargs="+", metavar="PHASE",
                        default=["vision", "prefill", "decode"],
                        help="vision, prefill, decode, training_step (default: the first "
                        "three)")  # fmt: skip
    for name, text in (
        ("tokens", "lengths of the whole prompt: pictures that fit, the rest text"),
        ("tiles", "pictures that become so many tiles, the base view included"),
        ("frames", "videos of so many frames"),
        ("images", "so many pictures"),
    ):
        parser.add_argument(f"--{name}", nargs="+", type=numbers, metavar="N", default=[],
                            help=text)  # fmt: skip
    parser.add_argument("--text-tokens", type=options.positive, default=64, metavar="N",
                        help="tokens of text beside tiles, frames or images "
                        "(default: 64)")  # fmt: skip
    parser.add_argument("--batch", nargs="+", type=numbers, metavar="N", default=[[1]])
    parser.add_argument("--dtype", nargs="+", metavar="DTYPE",
                        help="float32, bfloat16, float16 (fp32, bf16, fp16; default: the "
                        "subject's own)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: cpu)")
    parser.add_argument("--threads", type=options.positive, metavar="N",
                        help="PyTorch's threads (default: its own choice)")  # fmt: skip


def _add_measuring_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=options.positive, default=20, metavar="N",
                        help="samples of each, at most (default: 20)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S",
                        help="sampling of a cell ends after this, once 5 rounds are there "
                        "(default: 20)")  # fmt: skip
    parser.add_argument("--no-memory", action="store_true", help="do not weigh")
    parser.add_argument("--resident", choices=("longest", "all", "none"), default="longest",
                        help="for which lengths a fresh process's resident set is taken as a "
                        "cross-check of peak memory (default: longest)")  # fmt: skip
    parser.add_argument("--repeat", type=options.positive, default=1, metavar="N",
                        help="measure N times, each in a fresh process: what `history --check` "
                        "compares")  # fmt: skip


def numbers(text: str) -> list[int]:
    """An argparse type: `1024` or `1024,2048`."""
    return [options.positive(part) for part in text.split(",") if part.strip()]


def run(arguments: argparse.Namespace) -> int:
    """Return 0; 130 where a user stopped it, after writing what there is."""
    if arguments.list_geometries:
        return _list_geometries()
    record_options.check_outputs(arguments)
    _check_combinations(arguments)
    if arguments.repeat > 1:
        from attnswitch.cli.bench_repeated import run_repeated

        return run_repeated(arguments)
    from attnswitch.cli.bench_plan import plan

    options.progress("making ready")
    try:
        planned = plan(arguments)
    finally:
        options.end_progress()
    from attnswitch.bench.document import document
    from attnswitch.cli.bench_progress import BenchProgress

    outcome = planned.run(BenchProgress())
    runs = {outcome.run.id: outcome.run, **planned.runs_taken_from_record}
    used = {row.run for row in outcome.rows}
    record = document([r for r in runs.values() if r.id in used], outcome.rows)
    record_options.show_benchmark(record, arguments)
    record_options.write_outputs(record, arguments)
    if planned.file is not None:
        print(f"record: {planned.file}, run {outcome.run.id}", file=sys.stderr)
    if outcome.stopped:
        left = "; --resume goes on from there" if planned.file else ""
        print(f"attnswitch bench: stopped; what was finished is kept{left}", file=sys.stderr)
        return 130
    return 0


def _check_combinations(arguments: argparse.Namespace) -> None:
    if arguments.model and arguments.geometry:
        raise InputError(
            "--model and --geometry name two subjects: give one, and run the other after it"
        )
    if arguments.no_record and (arguments.resume or arguments.repeat > 1):
        raise InputError("--resume and --repeat live on the record: leave out --no-record")
    if arguments.resume and arguments.repeat > 1:
        raise InputError("--repeat measures again what --resume would take from the record")
    if arguments.seconds <= 0:
        raise InputError(f"--seconds must be above zero, not {arguments.seconds:g}")


def _list_geometries() -> int:
    from attnswitch.geometries.catalogue import CATALOGUE

    for geometry in CATALOGUE.values():
        language = geometry.language
        print(
            f"{geometry.name:<28} {language.layers} layers, {language.heads} heads on "
            f"{language.kv_heads}, width {language.head_dim}, {geometry.dtype}"
            + (f", {geometry.frames} frames" if geometry.frames else "")
        )
    return 0
