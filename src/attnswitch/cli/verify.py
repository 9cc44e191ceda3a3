"""`attnswitch verify`: is the difference between two ways of attention a bug, and where."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from attnswitch.cli import model_options as options

DESCRIPTION = """\
Judge two ways of attention inside one model: at every site on the same inputs (local error), in
whole runs (propagated error), and by the tokens they generate. Exit status 0: they agree; 1: they
do not, and the first site that is wrong is named, with what is wrong there.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="say whether a difference is a bug or rounding, and find the layer",
        description=DESCRIPTION,
    )
    options.add_model_options(parser)
    parser.set_defaults(max_new_tokens=16)
    parser.add_argument("--baseline", default="flash", metavar="REQUEST")
    parser.add_argument("--candidate", default="standard", metavar="REQUEST")
    parser.add_argument("--inputs", metavar="FILE.jsonl",
                        help='questions, one a line: {"image": "cat.png", "prompt": "..."}; '
                        "tokens are compared over all of them")  # fmt: skip
    parser.add_argument("--gradients", action="store_true", help="judge the backward too")
    parser.add_argument("--train", type=options.positive, default=0, metavar="N",
                        help="train N seeded steps under each, and compare the curves")  # fmt: skip
    parser.add_argument("--bisect", nargs="?", const="agree", choices=("agree", "differ"),
                        dest="find", help="find the smallest set of sites that must be switched "
                        "for the outputs to agree (default) or to differ")  # fmt: skip
    parser.add_argument("--oracle", choices=("logits", "tokens"), default="logits",
                        help="what agreement means while bisecting")  # fmt: skip
    parser.add_argument("--budget", type=options.positive, default=40, metavar="N",
                        help="evaluations while bisecting, at most (default: 40)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="draws the judged rows and the order of training")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the record (- for standard output)")
    parser.add_argument("--report", metavar="FILE.html", help="write a page to look at")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Return 0 where the two agree, else 1."""
    for path in (arguments.json, arguments.report):
        options.check_output_path(path)
    from attnswitch.switch import as_request

    requests = {
        "baseline": as_request(arguments.baseline, "--baseline"),
        "candidate": as_request(arguments.candidate, "--candidate"),
    }
    questions = _questions(arguments)
    options.progress("loading the model")
    from attnswitch import verify
    from attnswitch.models.describing import describe_model

    loaded = options.load(arguments)
    inputs = _inputs(loaded, arguments, questions)
    try:
        found = verify(
            loaded.model, inputs, **requests, progress=options.progress,
            max_new_tokens=arguments.max_new_tokens, gradients=arguments.gradients,
            train=arguments.train, find=arguments.find, oracle=arguments.oracle,
            budget=arguments.budget, seed=arguments.seed,
        )  # fmt: skip
    finally:
        options.end_progress()
    record = found.to_json()
    record["model"] = describe_model(loaded)
    _add_texts(record, loaded)
    _show(record, arguments)
    return 0 if record["verdict"]["agrees"] else 1


def _questions(arguments: argparse.Namespace) -> list[Any]:
    if arguments.inputs is None:
        return []
    if arguments.image or arguments.prompt:
        from attnswitch.errors import InputError

        raise InputError("--inputs takes the place of --image and --prompt: give one or the other")
    from attnswitch.models.question_set import read_questions

    return read_questions(arguments.inputs)


def _inputs(loaded: Any, arguments: argparse.Namespace, questions: list[Any]) -> list[Any]:
    """The first question, a left-padded batch of it, and the other questions."""
    from attnswitch.models.describing import question
    from attnswitch.models.inputs import padded_batch, prepare_inputs

    if questions:
        asked = [(one.images, one.prompt) for one in questions]
    else:
        asked = [question(loaded, arguments.image, arguments.prompt)]
    many = arguments.max_new_tokens
    inputs = [prepare_inputs(loaded, *one, max_new_tokens=many) for one in asked]
    return [inputs[0], padded_batch(loaded, *asked[0]), *inputs[1:]]


def _add_texts(record: dict[str, Any], loaded: Any) -> None:
    """The answers in words beside their tokens."""
    from attnswitch.models.describing import tokenizer_of

    tokenizer = tokenizer_of(loaded)
    for one in (record["tokens"] or {}).get("answers", ()):
        one["texts"] = {
            who: [tokenizer.decode([token]) for token in one[who]]
            for who in ("baseline", "candidate")
        }


def _show(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from attnswitch.report.verification_text import verification_text

    to_stdout = arguments.json == "-"
    verification_text(record, Console(file=sys.stderr if to_stdout else sys.stdout))
    if arguments.json:
        options.write_json(record, arguments.json)
    if arguments.report:
        from attnswitch.report.verification_page import write_verification_page

        write_verification_page(record, arguments.report)
        print(f"report: {arguments.report}", file=sys.stderr)
