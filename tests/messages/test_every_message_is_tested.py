"""Every message of the rooms of rules, `explain` and `doctor` stands in some test."""

from __future__ import annotations

from pathlib import Path

import attnswitch
from tests.messages.collected import Text, is_held, strings_in, texts_in

ROOT = Path(attnswitch.__file__).parent
TESTS = Path(__file__).parents[1]
ROOMS = (
    "policy", "explaining", "doctor", "hardware", "switch.py", "forbidding.py",
    "report/explanation_text.py", "report/doctor_text.py",
)  # fmt: skip


def texts() -> list[Text]:
    found = []
    for room in ROOMS:
        path = ROOT / room
        for module in [path] if path.is_file() else sorted(path.rglob("*.py")):
            found += texts_in(module, ROOT)
    return found


def test_every_message_is_in_a_test():
    tests = strings_in(TESTS)
    missing = [str(text) for text in texts() if not is_held(text, tests)]
    assert missing == []
    assert len(texts()) > 150


def test_one_that_is_in_none_would_be_found(tmp_path):
    """Of messages as they are written, and not of docstrings, patterns or a word or two."""
    module = tmp_path / "module.py"
    module.write_text(
        '"""A docstring of some words."""\n'
        "import re\n"
        'SHORT, PATTERN = "two words", re.compile("a pattern of words")\n'
        "def fail(name):\n"
        '    raise ValueError(f"{name}: nobody tests " "this message")\n'
    )
    (text,) = texts_in(module, tmp_path)
    assert (text.path, text.line, text.run) == (
        "module.py", 5, (":", "nobody", "tests", "this", "message"),
    )  # fmt: skip
    assert not is_held(text, "somebody tests this")
    assert is_held(text, "it says: nobody tests this message.")
