"""Every picture-and-text class of the installed transformers has a place in the tables."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from . import placing, roster


def test_every_class_has_one_place():
    """A class that a new transformers brings fails here until somebody places it."""
    assert placing.unplaced(set(placing.loadable())) == set()
    for one, other in itertools.combinations(placing.PLACES, 2):
        assert set(one) & set(other) == set()


def test_a_new_class_would_be_noticed():
    assert placing.unplaced({*placing.loadable(), "llava_of_tomorrow"}) == {"llava_of_tomorrow"}


def test_every_class_built_on_llava_is_in_the_matrix():
    found = {kind for kind in placing.loadable() if placing.is_built_on_llava(kind)}
    assert len(found - roster.NAMED_TYPES) > 5, "the sources were not found"
    assert found - roster.ALL_TYPES == set()


def test_another_model_type_of_a_class_is_that_class():
    classes = placing.loadable()
    for kind, twin in placing.SAME_CLASS.items():
        assert classes[kind] == classes[twin]
        assert twin in roster.ALL_TYPES


def test_the_document_has_each_class_in_one_table():
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`([\w.-]+)`", cell) if name != "timm"]
    assert sorted(named) == sorted(roster.ALL_TYPES)
    not_run = text[text.index("## Not run") :]
    for kind in (*placing.NOT_RUN, *placing.SAME_CLASS):
        assert f"`{kind}`" in not_run
