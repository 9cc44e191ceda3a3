"""Build the suite's environments under `.compat/`: quick, cached, and torch never downloaded.

Each environment is a virtual environment whose site-packages holds links: to the distributions
of its layers, and to torch, attnswitch and what these need, in the environment that runs this
suite. attnswitch's .pth file is linked like the rest, so that ATTNSWITCH works as installed.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from compat.pins import ENVIRONMENTS, LAYERS, LINKED, LINKED_CURRENT

ROOT = Path(__file__).resolve().parent.parent / ".compat"


def python_of(name: str) -> Path:
    """The interpreter of an environment, built first where it is not there yet."""
    layers = ENVIRONMENTS[name]
    with _locked("build"):
        folders = [_layer(layer) for layer in layers]
        return _environment(name, folders)


def folder_of(layer: str) -> Path:
    """The folder with a layer's distributions, installed first where it is not there yet."""
    with _locked("build"):
        return _layer(layer)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One builder at a time, other pytest processes included."""
    ROOT.mkdir(exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _layer(name: str) -> Path:
    """The folder with a layer's distributions; a stamp names what was installed into it."""
    folder, pins = ROOT / "layers" / name, LAYERS[name]
    stamp = ROOT / "layers" / f"{name}.stamp"
    wanted = "\n".join((sys.version, *pins))
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    _empty(folder)
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-compile", "--only-binary", ":all:", "--target", str(folder), *pins,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    stamp.write_text(wanted)
    return folder


def _empty(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _environment(name: str, layers: list[Path]) -> Path:
    """A virtual environment of links; made anew each session, since that takes a moment."""
    folder = ROOT / "environments" / name
    python = folder / "bin" / "python"
    linked = _linked(LINKED if layers else LINKED_CURRENT)
    links = {entry.name: entry for layer in reversed(layers) for entry in layer.iterdir()}
    own = {_normal(e) for e in links if e.endswith(".dist-info")}
    for entry, target in linked.items():
        if _normal(entry) not in own:
            links.setdefault(entry, target)
    stamp, wanted = folder / "links.txt", "\n".join(f"{k} {v}" for k, v in sorted(links.items()))
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    _empty(folder)
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    for entry, target in links.items():
        if entry not in ("bin", "__pycache__"):
            (site / entry).symlink_to(target)
    stamp.write_text(wanted)
    return python


def _normal(entry: str) -> str:
    """A .dist-info folder's distribution; other names as they are."""
    return entry.split("-")[0].lower() if entry.endswith(".dist-info") else entry


@cache
def _linked(distributions: tuple[str, ...]) -> dict[str, Path]:
    """{name in site-packages: where it lies} of distributions and all that they need."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    queue = list(distributions)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed only on another system
        queue += _needs(distribution)
        for entry in _top_level(distribution):
            found[entry.name] = entry
    found.update(_attnswitch_sources())
    return found


def _needs(distribution: importlib.metadata.Distribution) -> list[str]:
    """Names of what a distribution requires without any extra."""
    required = (line for line in distribution.requires or [] if "extra ==" not in line)
    return [re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0] for line in required]


def _top_level(distribution: importlib.metadata.Distribution) -> set[Path]:
    """The entries of site-packages that belong to a distribution."""
    home = Path(str(distribution.locate_file("")))
    names = {file.parts[0] for file in distribution.files or []}
    return {home / n for n in names if n not in ("..", "__pycache__") and (home / n).exists()}


def _attnswitch_sources() -> dict[str, Path]:
    """attnswitch itself, also where it is installed in place, and the file that arms it."""
    import attnswitch

    package = Path(attnswitch.__file__).resolve().parent
    candidates = (
        package.parent / "attnswitch.pth",
        Path(sysconfig.get_path("purelib")) / "attnswitch.pth",
    )
    return {"attnswitch": package, "attnswitch.pth": next(p for p in candidates if p.exists())}
