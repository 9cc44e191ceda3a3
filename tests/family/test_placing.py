"""Every picture-and-text class of the installed transformers has a place in the tables."""

from __future__ import annotations

import itertools

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


def test_what_is_said_to_be_made_from_another_is():
    placed = roster.ALL_TYPES | placing.MADE_FROM.keys()
    for kind, parent in placing.MADE_FROM.items():
        assert parent in placed
        if kind in placing.loadable():
            assert placing.folder_of(parent) in placing.made_from(kind), kind
    classes = placing.loadable()
    for kind, twin in placing.SAME_CLASS.items():
        assert classes[kind] == classes[twin]
