"""The built wheel in an environment of its own: it arms, it leaves others alone, it goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.run.launching import SDPA, script, start

ROOT = Path(__file__).parents[2]
PRINT_REQUEST = (
    SDPA
    + """
import sys
F.scaled_dot_product_attention(q, q, q)
intent = sys.modules.get("attnswitch.intent")
choice = intent and intent.of_process()
print(choice.backend if choice else "unswitched")
"""
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("attnswitch-*.whl"))


class Environment:
    """A virtual environment that finds torch in the testing one, and has its own site-packages."""

    def __init__(self, folder: Path):
        venv.create(folder, with_pip=False)
        self.python = str(folder / "bin" / "python")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "lib" / version / "site-packages"
        # A path line adds a folder and reads no .pth file in it.
        (self.site / "zz_torch.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def pip(self, *words: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", self.python, "--quiet", *words]
        subprocess.run(command, check=True, capture_output=True)

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.site))
            for path in self.site.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment") / "venv")


def test_from_install_to_uninstall(environment, wheel, tmp_path):
    name = script(tmp_path, PRINT_REQUEST)
    armed = {"ATTNSWITCH": "math"}
    before = environment.files()

    # Not installed here, although the testing environment is: the variable does nothing.
    assert start([environment.python, name], tmp_path, armed).stdout == "unswitched\n"
    found = start([sys.executable, "-m", "attnswitch.cli.main", "run", "--attn", "math", "--",
                   environment.python, name], tmp_path)  # fmt: skip
    assert found.returncode == 125
    assert "attnswitch.pth is missing" in found.stderr

    # Not what the path line above shows it, but this wheel, here.
    environment.pip("install", "--ignore-installed", "--no-deps", "--no-index", str(wheel))
    (environment.site / "sitecustomize.py").write_text("print('customized')")
    done = start([environment.python, name], tmp_path, armed)
    assert done.stdout == "customized\nmath\n", done.stderr
    command = str(Path(environment.python).with_name("attnswitch"))
    done = start([command, "run", "--attn", "math", name], tmp_path)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "math"), done.stderr
    (environment.site / "sitecustomize.py").unlink()

    environment.pip("uninstall", "--yes", "attnswitch")
    assert environment.files() == before
    assert not os.path.exists(command)
    done = start([environment.python, "-c", "print('as ever')"], tmp_path, armed)
    assert (done.stdout, done.stderr) == ("as ever\n", "")
