"""Mutates source files and asks scan and patch to survive them.

    python tests/source/fuzz.py [--files 10000] [--seed 0] [--corpus FOLDER]

Each file is a mutation of a snippet of the tests, or of a Python file below FOLDER. Scanning it
must not raise. Patching it must not raise either, and a file that parsed before must parse after.
"""

from __future__ import annotations

import argparse
import ast
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from snippets import SNIPPETS

from attnswitch import source

_TOKENS = [
    "flash_attention_2",
    "attn_implementation=",
    "use_flash_attn=True",
    "import",
    "flash_attn",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    '"""',
    "\\",
    "#",
    "\t",
    "\n",
    "assert",
    "if",
    "else",
    "try:",
    "except:",
    "raise",
    "lambda",
    "*",
    "**",
    "@",
    ":=",
    "0x",
    "\x00",
    "é",
    "𝒳",
    "\r\n",
    "\x0c",
]


def mutate(text: str, rng: random.Random) -> str:
    """Change a text in one to six places, mostly one: cut, double, swap, insert, indent."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        lines = text.split("\n")
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(7)
        if kind == 0:
            text = text[:at] + text[at + rng.randint(1, 30) :]
        elif kind == 1:
            text = text[:at] + rng.choice(_TOKENS) + text[at:]
        elif kind == 2 and len(lines) > 1:
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
        elif kind == 3:
            i = rng.randrange(len(lines))
            lines.insert(i, lines[rng.randrange(len(lines))])
            text = "\n".join(lines)
        elif kind == 4:
            i = rng.randrange(len(lines))
            lines[i] = rng.choice(["    ", "\t", " "]) + lines[i]
            text = "\n".join(lines)
        elif kind == 5:
            del lines[rng.randrange(len(lines))]
            text = "\n".join(lines)
        else:
            text = text.replace("\n", "\r\n") if rng.random() < 0.3 else text + text[:at]
    return text


def parses(data: bytes) -> bool:
    """True if Python takes the bytes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def corpus(folder: str | None) -> list[str]:
    """The texts to mutate."""
    texts = list(SNIPPETS.values())
    if folder:
        for path in sorted(Path(folder).rglob("*.py"))[:2000]:
            if path.stat().st_size < 20_000:
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
    return texts


def run(files: int, seed: int, folder: str | None, batch: int = 25) -> dict[str, int]:
    """Try `files` mutated files in batches of one tree each; counts what happened."""
    rng = random.Random(seed)
    texts = corpus(folder)
    counts = {"files": 0, "parsed": 0, "changed": 0, "failed": 0, "broken": 0, "crashes": 0}
    while counts["files"] < files:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for index in range(min(batch, files - counts["files"])):
                data = mutate(rng.choice(texts), rng).encode("utf-8", "replace")
                (root / f"f{index}.py").write_bytes(data)
                counts["files"] += 1
                counts["parsed"] += parses(data)
            _one_tree(root, counts)
    return counts


def _one_tree(root: Path, counts: dict[str, int]) -> None:
    try:
        patch = source.patch(root)
    except Exception as error:
        counts["crashes"] += 1
        print(f"crash: {type(error).__name__}: {error}", file=sys.stderr)
        return
    counts["changed"] += len(patch.changed)
    counts["failed"] += len(patch.failed)
    for change in patch.changed:
        if parses(change.before) and not parses(change.after or b""):
            counts["broken"] += 1
            print(f"broken: {change.path}\n{(change.after or b'').decode()}", file=sys.stderr)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", help="a folder with Python files to mutate too")
    arguments = parser.parse_args()
    started = time.perf_counter()
    counts = run(arguments.files, arguments.seed, arguments.corpus)
    print(counts, f"{time.perf_counter() - started:.0f} s")
    return 1 if counts["broken"] or counts["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())
