"""The real LLaVA 1.2.2 loads and generates with `use_flash_attn=True`, and serves with the flag."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from compat.environments import python_of
from compat.kernels import assert_only
from compat.llava_training import start_training
from compat.running import PROGRAMS, run, start, variables_for

ENVIRONMENTS = ("4.36", "4.37")
CLASSES = ["CLIP", "Llama"]
PROMPT = "USER: <image>\nwhat is this? ASSISTANT:"


@pytest.fixture(scope="module")
def checkpoint(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA folder as LLaVA's own training saves it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    training = start_training("4.37", "llava.train.train", tiny_files, folder, steps=1)
    training.finished().expect_success()
    return training.output_folder


@pytest.fixture(scope="module")
def generations(checkpoint, tiny_files, tmp_path_factory) -> dict:
    """{(environment, request): (run, its record)}; None asks LLaVA for no FlashAttention."""
    folder = tmp_path_factory.mktemp("generations")
    started = {}
    for environment in ENVIRONMENTS:
        for request in (None, "standard", "flash"):
            out = folder / f"{environment}-{request}.json"
            command = [PROGRAMS / "llava_generate.py", checkpoint, tiny_files, out]
            command += ["plain"] if request is None else []
            started[environment, request] = (start(environment, command, attn=request), out)
    return started


def record(started: tuple) -> dict:
    started[0].result().expect_success()
    return json.loads(started[1].read_text())


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_loading_with_flash_dies_without_the_switch(environment, checkpoint, tiny_files, tmp_path):
    command = [PROGRAMS / "llava_generate.py", checkpoint, tiny_files, tmp_path / "out.json"]
    done = run(environment, command)
    assert done.status == 1
    assert "FlashAttention2 has been toggled on, but it cannot be used" in done.output


@pytest.mark.parametrize("request_word", ["standard", "flash"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_generation_obeys_and_agrees(generations, environment, request_word):
    own = record(generations[environment, None])
    switched = record(generations[environment, request_word])
    assert_only(switched["operators"], request_word, CLASSES)
    assert switched["logits"] == pytest.approx(own["logits"], abs=1e-4)
    assert switched["answer"] == own["answer"]
    assert len(own["answer"]) > 5


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_worker_answers_alike(environment, checkpoint, tiny_files, tmp_path):
    """`model_worker --use-flash-attn`: a picture and a question over HTTP."""
    answers = {}
    for request in ("standard", "flash"):
        with worker(environment, checkpoint, tmp_path, request) as (address, log):
            assert "use_flash_attn=True" in log.read_text()
            answers[request] = ask(address, tiny_files)
    assert answers["standard"] == answers["flash"]
    assert len(answers["standard"]) > len(PROMPT)


@contextmanager
def worker(
    environment: str, checkpoint: Path, folder: Path, request: str
) -> Iterator[tuple[str, Path]]:
    """LLaVA's model worker on a free port, ended when the block is left."""
    port = free_port()
    log = folder / f"worker-{request}.log"
    controller = start_controller()
    command = [
        str(python_of(environment)), "-m", "llava.serve.model_worker", "--port", str(port),
        "--model-path", str(checkpoint), "--device", "cpu", "--no-register", "--use-flash-attn",
        "--controller-address", f"http://127.0.0.1:{controller.server_port}", "--host", "127.0.0.1",
    ]  # fmt: skip
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=variables_for(request), stdout=stream, stderr=stream
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_it_answers(process, address, log)
        yield address, log
    finally:
        process.terminate()
        process.wait(timeout=60)
        controller.shutdown()
        controller.server_close()


class Controller(BaseHTTPRequestHandler):
    """LLaVA's controller as far as a worker needs it: before each answer it sends a heart beat."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"exist": true}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def start_controller() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Controller)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_it_answers(process: subprocess.Popen, address: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            post(f"{address}/worker_get_status", {})
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the worker does not answer:\n{log.read_text()[-4000:]}")


def post(url: str, body: dict) -> bytes:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def ask(address: str, files: Path) -> str:
    """The worker's last partial answer, as LLaVA's web page would show it."""
    import base64

    picture = base64.b64encode((files / "images" / "0.png").read_bytes()).decode()
    body = {"prompt": PROMPT, "images": [picture], "temperature": 0, "max_new_tokens": 6,
            "stop": "</s>"}  # fmt: skip
    parts = [
        json.loads(part)
        for part in post(f"{address}/worker_generate_stream", body).split(b"\0")
        if part
    ]
    assert all(part["error_code"] == 0 for part in parts), parts
    return re.sub(r"\s+$", "", parts[-1]["text"])
