"""Findings in files that are not Python: one detector a format, all with the same signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attnswitch.source.files import dependencies, settings, shell
from attnswitch.source.records import Finding
from attnswitch.source.tree import SourceFile

DETECTORS: dict[str, tuple[Callable[[SourceFile], Iterator[Finding]], ...]] = {
    "shell": (shell.detect,),
    "docker": (dependencies.detect_docker, shell.detect_variables),
    "requirements": (dependencies.detect_requirements,),
    "toml": (dependencies.detect_toml, settings.detect_toml),
    "config": (dependencies.detect_requirements,),
    "json": (settings.detect_json,),
    "yaml": (settings.detect_yaml, dependencies.detect_yaml),
    "markdown": (dependencies.detect_markdown,),
}


def find_in_file(file: SourceFile) -> list[Finding]:
    """All findings of a file that is not Python."""
    return [finding for detect in DETECTORS.get(file.kind, ()) for finding in detect(file)]
