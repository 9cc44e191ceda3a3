"""Options and steps shared by the commands that need a model and a picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """--model, --image, --prompt, --dtype, --device, --max-new-tokens, --trust-remote-code."""
    parser.add_argument("--model", metavar="FOLDER_OR_ID",
                        help="a LLaVA-family checkpoint (default: the built-in LLaVA)")  # fmt: skip
    parser.add_argument("--image", action="append", metavar="FILE", default=None,
                        help="a picture; repeatable (default: the built-in picture)")  # fmt: skip
    parser.add_argument("--prompt", help="what to ask (default: to describe the picture)")
    parser.add_argument("--dtype", help="float32, bfloat16, float16 (fp32, bf16, fp16)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cpu)")
    parser.add_argument("--max-new-tokens", type=positive, default=40, metavar="N")
    parser.add_argument("--trust-remote-code", action="store_true",
                        help="run model code that a hub repository brings along")  # fmt: skip


def load(arguments: argparse.Namespace) -> Any:
    """The LoadedModel that the options name; pictures are looked at first, which takes no time."""
    from attnswitch.models.inputs import open_picture
    from attnswitch.models.load import load_model

    for picture in arguments.image or ():
        open_picture(picture)
    return load_model(
        arguments.model,
        dtype=arguments.dtype,
        device=arguments.device,
        trust_remote_code=arguments.trust_remote_code,
    )


def positive(text: str) -> int:
    """An argparse type: a whole number above zero."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def progress(message: str) -> None:
    """Say on standard error what is being done, on one line where that is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{message} ...", end="", file=sys.stderr, flush=True)
    else:
        print(f"{message} ...", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Clear the progress line."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def check_output_path(path: str | None) -> None:
    """Find out before long work whether a result could not be written.

    Raises:
        InputError: the folder is missing, or the path is a folder.
    """
    if path is not None and path != "-":
        from attnswitch.report.atomic_file import check_target

        check_target(Path(path))


def write_json(record: dict[str, Any], path: str) -> None:
    """Write a record to a file, whole or not at all, or to standard output ("-")."""
    from attnswitch.report.atomic_file import write_atomically

    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    if path == "-":
        print(text)
    else:
        write_atomically(path, f"{text}\n".encode())
