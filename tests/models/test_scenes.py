"""The toy world: the same seed gives the same scene, and every question has one right answer."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from attnswitch.models import scenes

SCENES = [scenes.make_scene(seed) for seed in [*range(150), *scenes.HELD_OUT_SEEDS[:150]]]
COUNT_WORDS = {word: number for number, word in enumerate(scenes.NUMBERS)}
PLACES = {scenes.place_name(row, column): (row, column) for row in range(3) for column in range(3)}


def acceptable_answers(scene: scenes.Scene, question: str) -> set[str]:
    """Every answer that some fair reading of the words allows; written without scenes' own code."""
    things = scene.things

    def named(words: str) -> list[scenes.Thing]:
        """Things that fit ``circle``, ``red`` or ``red circle``."""
        wanted = set(words.split())
        return [t for t in things if wanted <= {t.colour, t.shape}]

    def article(t: scenes.Thing) -> str:
        return ("an " if t.colour == "orange" else "a ") + f"{t.colour} {t.shape}"

    if m := re.fullmatch(r"What colou?r is the (\w+)\?", question):
        return {f"The {m[1]} is {t.colour}." for t in named(m[1])}
    if m := re.fullmatch(r"What shape is (\w+)\?|What is the (\w+) shape\?", question):
        colour = m[1] or m[2]
        return {f"The {colour} shape is a {t.shape}." for t in named(colour)}
    if m := re.fullmatch(r"(?:How many (.+)s are there\?|Count the (.+)s\.)", question):
        noun = m[1] or m[2]
        words = "" if noun in ("thing", "shape") else noun.removesuffix(" shape")
        shown = "shape" if noun == "thing" else noun
        count = len(named(words))
        if count == 1:
            return {f"There is one {shown}."}
        return {f"There are {word} {shown}s." for word, n in COUNT_WORDS.items() if n == count}
    if m := re.fullmatch(r"Where is the (.+)\?", question):
        return {
            f"The {m[1]} is in the {place}."
            for t in named(m[1])
            for place, cell in PLACES.items()
            if cell == (t.row, t.column)
        }
    if m := re.fullmatch(r"What is in the (.+)\?", question):
        there = [t for t in things if (t.row, t.column) == PLACES[m[1]]]
        if not there:
            return {f"Nothing is in the {m[1]}."}
        return {f"{article(t)[0].upper()}{article(t)[1:]} is in the {m[1]}." for t in there}
    if m := re.fullmatch(r"Is there an? (.+)\?", question):
        a = "an" if m[1].startswith("orange") else "a"
        return {f"Yes, there is {a} {m[1]}." if named(m[1]) else f"No, there is no {m[1]}."}
    if m := re.fullmatch(r"What is (left of|right of|above|below) the (.+)\?", question):
        return _related(scene, m[1], named(m[2]), m[2], article)
    raise AssertionError(f"no rule reads {question!r}")


def _related(scene, relation, anchors, anchor_words, article) -> set[str]:
    """By cell and by pixel, in the same row (or column) and in any."""
    axis, sign = {
        "left of": ("x", -1),
        "right of": ("x", 1),
        "above": ("y", -1),
        "below": ("y", 1),
    }[relation]
    answers = set()
    for anchor in anchors:
        place = (anchor.column, anchor.row) if axis == "x" else (anchor.row, anchor.column)
        for must_line_up in (False, True):
            fitting = []
            for t in scene.things:
                along, across = (t.column, t.row) if axis == "x" else (t.row, t.column)
                if sign * (along - place[0]) > 0 and (across == place[1] or not must_line_up):
                    fitting.append(t)
            for t in fitting:
                words = article(t)
                answers.add(f"{words[0].upper()}{words[1:]} is {relation} the {anchor_words}.")
            if not fitting:
                answers.add(f"Nothing is {relation} the {anchor_words}.")
    return answers


@pytest.mark.parametrize("kind", scenes.QUESTION_KINDS)
def test_each_question_has_exactly_the_answer_that_an_independent_reading_finds(kind):
    asked = 0
    for scene in SCENES:
        for seed in range(3):
            question = scenes.ask(scene, kind, seed)
            if question is None:
                continue
            asked += 1
            assert acceptable_answers(scene, question.text) == {question.answer}, scene
    assert asked > 100


def test_the_independent_reading_sees_an_ambiguity_when_there_is_one():
    things = (_thing("red", "circle", 0, 0), _thing("blue", "circle", 0, 1))
    two_circles = scenes.Scene(seed=-1, things=things, background=(255, 255, 255))
    assert len(acceptable_answers(two_circles, "What colour is the circle?")) == 2
    things = (_thing("red", "circle", 0, 0), _thing("blue", "star", 1, 1))
    diagonal = scenes.Scene(seed=-1, things=things, background=(255, 255, 255))
    assert len(acceptable_answers(diagonal, "What is left of the blue star?")) == 2


def _thing(colour: str, shape: str, row: int, column: int) -> scenes.Thing:
    return scenes.Thing(colour, shape, row, column, 70, 0, 0, scenes.COLOURS[colour])


def test_a_description_names_every_thing_once_in_reading_order():
    for scene in SCENES:
        first, *rest = scenes.describe(scene).removesuffix(".").split(". ")
        count = len(scene.things)
        assert re.fullmatch(rf"There (is|are) {scenes.NUMBERS[count]} shapes?", first)
        said = []
        for sentence in rest:
            m = re.fullmatch(r"In the (.+) is an? (\w+) (\w+)", sentence)
            said.append((*PLACES[m[1]], m[2], m[3]))
        assert said == sorted((t.row, t.column, t.colour, t.shape) for t in scene.things)


def test_the_same_seed_gives_the_same_scene_and_picture_in_another_process():
    program = (
        "import hashlib\n"
        "from attnswitch.models import scenes\n"
        "s = scenes.make_scene(7)\n"
        "print(hashlib.sha256(scenes.render(s).tobytes()).hexdigest())\n"
        "print([q.text + q.answer for q in scenes.ask_all(s)])\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_different_seeds_give_different_pictures():
    pictures = {scenes.render(scene).tobytes() for scene in SCENES[:40]}
    assert len(pictures) == 40


def test_every_thing_stays_within_its_cell_and_the_picture_shows_its_colour():
    for scene in SCENES[:40]:
        picture = scenes.render(scene)
        labels = scenes.render_labels(scene)
        assert picture.size == labels.size == (scenes.PICTURE_SIDE, scenes.PICTURE_SIDE)
        for index, thing in enumerate(scene.things, start=1):
            assert picture.getpixel(thing.centre) == thing.rgb
            left, top, right, bottom = labels.point(lambda v, i=index: 255 * (v == i)).getbbox()
            side = scenes.CELL_SIDE
            assert thing.column * side <= left < right <= (thing.column + 1) * side
            assert thing.row * side <= top < bottom <= (thing.row + 1) * side


def test_training_and_held_out_scenes_share_neither_seeds_nor_layouts():
    assert not set(scenes.TRAIN_SEEDS) & set(scenes.HELD_OUT_SEEDS)
    assert scenes.SAMPLE_SEED in scenes.HELD_OUT_SEEDS
    held_out = {scene.layout for scene in scenes.held_out_scenes(1000)}
    seeds = scenes.training_seeds()
    trained_on = {scenes.make_scene(next(seeds)).layout for _ in range(3000)}
    assert not held_out & trained_on
    assert scenes.sample_scene().layout in held_out


def test_importing_scenes_imports_no_torch():
    program = "import sys, attnswitch.models.scenes; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
