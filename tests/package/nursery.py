"""A clean Python that has imported torch once, and is forked for each scenario.

What importing changes cannot be tested in the process of the other tests, and a Python of its own
for each scenario would spend most of its time importing torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

SERVER = """
import json, os, sys, traceback
import torch
import attnswitch.switch
torch.set_num_threads(1)
for line in sys.stdin:
    task = json.loads(line)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        os.dup2(writer, 1), os.dup2(writer, 2)
        sys.path[:0] = task["folders"]
        try:
            exec(compile(task["code"], "<scenario>", "exec"), vars(sys.modules["__main__"]))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as output:
        said = output.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps({"status": status, "said": said}), flush=True)
"""


@cache
def _server() -> subprocess.Popen[str]:
    """Started with the first scenario; ends when its standard input closes with this process."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )


def run(code: str, *folders: Path) -> str:
    """Run `code` in a fork of the clean Python, `folders` ahead on its path; its last line."""
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps({"code": code, "folders": [str(f) for f in folders]}) + "\n")
    server.stdin.flush()
    answer = json.loads(server.stdout.readline())
    assert answer["status"] == 0, answer["said"]
    return (answer["said"].strip().splitlines() or [""])[-1]
