"""Where FlashAttention or xformers is asked for as a package."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attnswitch.source import words
from attnswitch.source.records import Finding
from attnswitch.source.tree import SourceFile

_INSTALL = re.compile(r"\b(?:pip3?|uv|conda|mamba|poetry|pixi)\b[^#]*\b(?:install|add)\b|\.whl\b")
#: Fetches a file, and leaves installing it to another line.
_DOWNLOAD = re.compile(r"\s*(?:\$ |RUN )?(?:wget|curl)\b(?!.*(?:&&|;|\|))")
_SEPARATE = {"&&", "&", ";", "||"}
_REQUIREMENT = re.compile(r"^[\s\"'\-]*([A-Za-z][\w.-]*)")


def finding(file: SourceFile, number: int, name: str, status: str, reason: str) -> Finding:
    """A dependency finding for one line."""
    target = "xformers" if "xformers" in name.lower() else "flash"
    return Finding(
        file.path,
        number,
        "dependency",
        f"installs {name}",
        "installs",
        target=target,
        status=status,
        reason=reason,
    )


_WHEEL = re.compile(r"/(flash[-_]attn|xformers)-[^/\s]*\.whl|git\+\S*/(flash-attention|xformers)")


def _named(line: str) -> str | None:
    match = words.DISTRIBUTION.search(line)
    if match:
        return match.group(1)
    wheel = _WHEEL.search(line)
    return (wheel.group(1) or wheel.group(2)) if wheel else None


def install_line(line: str) -> str | None:
    """The kernel package that a command line installs, if it does."""
    if "flash" not in line and "xformers" not in line:
        return None
    code = line.split(" #", 1)[0]
    if code.lstrip().startswith(("#", "//")) or not _INSTALL.search(code):
        return None
    if _DOWNLOAD.match(code):
        return None
    match = re.search(r"(?<![\w/-])(flash[-_]attn|xformers|flash[-_]attention|flashinfer)", code)
    if match:
        return match.group(1)
    wheel = _WHEEL.search(code)
    return (wheel.group(1) or wheel.group(2)) if wheel else None


def detect_requirements(file: SourceFile) -> Iterator[Finding]:
    """Requirement files and setup.cfg: one package a line."""
    for number, line in enumerate(file.text.splitlines(), 1):
        name = _named(line.split("#", 1)[0]) if not line.lstrip().startswith("#") else None
        if name and (_REQUIREMENT.match(line) or "://" in line):
            yield finding(file, number, name, "live", "installed with the project")


def detect_toml(file: SourceFile) -> Iterator[Finding]:
    """pyproject.toml: quoted requirements, and names on the left in Poetry's tables."""
    if not file.path.endswith("pyproject.toml") and "dependencies" not in file.text:
        return
    section = ""
    for number, line in enumerate(file.text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped if stripped.endswith("]") and "=" not in stripped else section
        if stripped.startswith("#"):
            continue
        code = line.split(" #", 1)[0]
        for name in _quoted(code, section):
            extra = "optional" in section or "extra" in section or "group" in section
            reason = "installed with an extra" if extra else "installed with the project"
            yield finding(file, number, name, "live", reason)
            break


#: Tables of pyproject.toml that name packages and install none.
_NO_REQUIREMENTS = re.compile(
    r"tool\.(?:ruff|mypy|isort|uv\.(?:extra-build|sources|index|dependency-metadata)"
    r"|setuptools|wheel|black|flake8|pylint|pytest|coverage|codespell)"
)


def _quoted(code: str, section: str) -> Iterator[str]:
    if _NO_REQUIREMENTS.search(section) or code.lstrip().startswith("no-build"):
        return
    for text in re.findall(r"[\"']([^\"']+)[\"']", code):
        match = re.match(words.DISTRIBUTION, text.strip())
        if match:
            yield match.group(1)
    match = re.match(r"\s*([\w-]+)\s*=", code)
    if match and "dependencies" in section and re.fullmatch(words.DISTRIBUTION, match.group(1)):
        yield match.group(1)


def detect_docker(file: SourceFile) -> Iterator[Finding]:
    """Dockerfiles: lines of a RUN that name the package, but for those that remove it."""
    running = removing = False
    for number, line in enumerate(file.text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            continue
        if re.match(r"(?i)(run|from|copy|env|arg|cmd|workdir|label|entrypoint)\b", stripped):
            running, removing = stripped.lower().startswith("run"), False
        kept = ""
        for command in re.split(r"(&&?|;|\|\|)", stripped):
            removing = "uninstall" in command or (removing and command not in _SEPARATE)
            kept += "" if removing else command
        removing = removing and stripped.endswith("\\")
        match = re.search(r"(?<![\w/])(flash[-_]attn|xformers)", kept) if running else None
        if match or (running and install_line(kept)):
            name = match.group(1) if match else install_line(kept)
            yield finding(file, number, name or "", "live", "installed into the image")


def detect_yaml(file: SourceFile) -> Iterator[Finding]:
    """Conda environments and cog.yaml: list items that are requirements, and run lines."""
    for number, line in enumerate(file.text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            continue
        item = re.match(r"-\s*[\"']?((?:flash[-_]attn|xformers)[^\"':]*)[\"']?\s*$", stripped)
        if item:
            yield finding(file, number, item.group(1).strip(), "live", "listed as a requirement")
        elif install_line(stripped):
            yield finding(file, number, install_line(stripped) or "", "live", "an install command")


def detect_markdown(file: SourceFile) -> Iterator[Finding]:
    """READMEs: install commands only, not prose."""
    for number, line in enumerate(file.text.splitlines(), 1):
        name = install_line(line)
        if name and "](" not in line:
            yield finding(file, number, name, "unknown", "an instruction to the reader")
