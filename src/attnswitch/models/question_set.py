"""A set of questions: a JSON Lines file, one picture (or several) and a prompt a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnswitch.errors import InputError


@dataclass(frozen=True)
class Question:
    """Pictures, paths relative to the file's folder resolved, and what is asked of them."""

    images: tuple[Path, ...]
    prompt: str


def read_questions(path: str) -> list[Question]:
    """Read `{"image": "cat.png", "prompt": "What is this?"}` a line; `image` may be a list, or
    left out; blank lines are skipped.

    Raises:
        InputError: no such file, or a line that says something else; file and line are named.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found = [
        _question(line, f"{path}:{number}", file.parent)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise InputError(f"{path} holds no question: write one JSON object a line")
    return found


def _question(line: str, where: str, folder: Path) -> Question:
    try:
        data: Any = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: no valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{where}: a line is an object with image and prompt, not {data!r}")
    unknown = sorted(set(data) - {"image", "prompt"})
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; allowed: image, prompt")
    prompt, image = data.get("prompt"), data.get("image", [])
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{where}: prompt must be some text, not {prompt!r}")
    images = [image] if isinstance(image, str) else image
    if not isinstance(images, list) or not all(isinstance(one, str) and one for one in images):
        raise InputError(f"{where}: image must be a path or a list of paths, not {image!r}")
    return Question(tuple(folder / one for one in images), prompt)
