"""Which words are ours and which the program's; statuses and signals. No torch is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.run.launching import RUN, run, script, start


def parsed(*words: str):
    from attnswitch.cli.main import build_parser

    return build_parser().parse_args(["run", *words])


@pytest.mark.parametrize(
    ("words", "how", "rest", "attn"),
    [
        (["s.py", "--attn", "x"], "script", ["s.py", "--attn", "x"], None),
        (["--attn", "math", "s.py", "-m", "--"], "script", ["s.py", "-m", "--"], "math"),
        (["--attn=math", "-m", "pkg.train", "--forbid"], "module", ["pkg.train", "--forbid"],
         "math"),
        (["--forbid", "flash", "--", "torchrun", "--", "x"], "command", ["torchrun", "--", "x"],
         None),
        (["--receipt", "r.json", "--", "python", "-m", "a"], "command", ["python", "-m", "a"],
         None),
    ],
)  # fmt: skip
def test_only_words_before_the_command_are_ours(words, how, rest, attn):
    found = parsed(*words)
    assert (found.how, found.words, found.attn) == (how, rest, attn)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name a script"),
        (["--nonsense", "s.py"], "--nonsense"),
        (["--attn", "off", "s.py"], "write 'standard' to turn FlashAttention off"),
        (["--forbid", "math", "s.py"], "only 'flash'"),
        (["--receipt", "gone/r.json", "s.py"], "there is no folder"),
        (["missing.py"], "there is no script missing.py"),
        (["--", "no-such-command"], "cannot start no-such-command"),
        (["--", "true"], "no Python process was reached"),
        (["--", sys.executable, "-S", "-c", "pass"], "-S"),
        (["--", sys.executable, "-c", "pass"], "no process imported torch"),
    ],
)
def test_own_failures_are_125_and_say_what_to_do(tmp_path, words, says):
    script(tmp_path, "pass", "s.py")
    done = run(tmp_path, *words)
    assert done.returncode == 125, done.stderr
    assert says in done.stderr


def test_a_commands_failure_is_passed_on(tmp_path):
    assert run(tmp_path, "--", "sh", "-c", "exit 7").returncode == 7
    assert run(tmp_path, "--", "sh", "-c", "kill -TERM $$").returncode == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(tmp_path, number):
    name = script(
        tmp_path,
        """
        import signal, sys, time
        for n in (signal.SIGTERM, signal.SIGINT):
            signal.signal(n, lambda got, _: (print("got", got, flush=True), sys.exit(9)))
        print("ready", flush=True)
        time.sleep(30)
        """,
    )
    child = subprocess.Popen([*RUN, name], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.kill(child.pid, number)
    assert child.wait(timeout=20) == 9
    assert child.stdout.read() == f"got {int(number)}\n"


def test_standard_input_and_output_are_the_commands_own(tmp_path):
    done = subprocess.run([*RUN, "--", "cat"], cwd=tmp_path, input="words", capture_output=True,
                          text=True)  # fmt: skip
    assert done.stdout == "words"


def test_a_wrong_value_stops_torch_at_every_try_and_nothing_else(tmp_path):
    name = script(
        tmp_path,
        """
        import importlib.util
        assert importlib.util.find_spec("torch") is not None
        for _ in range(2):
            try:
                import torch
            except ImportError:
                raise SystemExit("an ImportError, which programs swallow")
            except Exception as error:
                print(type(error).__name__, error)
        """,
    )
    done = start([sys.executable, name], tmp_path, {"ATTNSWITCH": "off"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("RequestError ATTNSWITCH: 'off' is no request") == 2
    pip = start([sys.executable, "-m", "pip", "--version"], tmp_path, {"ATTNSWITCH": "off"})
    assert pip.returncode == 0
    assert pip.stderr == ""
