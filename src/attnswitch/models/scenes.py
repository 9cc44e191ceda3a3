"""The toy world of the built-in model: coloured shapes on a three by three grid.

Everything is drawn from a seed: the same seed gives the same scene, picture, questions and answers.
A scene renders to a 336 x 336 picture, the input size of LLaVA-1.5. Each of its nine cells holds at
most one thing. Only questions with exactly one right answer are asked.

Pure Python and Pillow; importing this module imports no torch.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

PICTURE_SIDE = 336
GRID_SIDE = 3
CELL_SIDE = PICTURE_SIDE // GRID_SIDE
MOST_THINGS = 3

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (38, 84, 214),
    "yellow": (240, 205, 40),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle")
NUMBERS: tuple[str, ...] = ("no", "one", "two", "three", "four", "five")
ROWS: tuple[str, ...] = ("top", "middle", "bottom")
COLUMNS: tuple[str, ...] = ("left", "centre", "right")
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below")

TRAIN_SEEDS = range(1_000_000)
HELD_OUT_SEEDS = range(1_000_000, 1_000_200)
SAMPLE_SEED = HELD_OUT_SEEDS[109]

Split = Literal["train", "held_out"]
Layout = frozenset[tuple[str, str, int, int]]
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Thing:
    """One coloured shape. ``row`` and ``column`` count from 0; lengths are in pixels."""

    colour: str
    shape: str
    row: int
    column: int
    size: int
    shift_x: int
    shift_y: int
    rgb: Rgb

    @property
    def name(self) -> str:
        """Colour and shape, as in ``red circle``."""
        return f"{self.colour} {self.shape}"

    @property
    def centre(self) -> tuple[int, int]:
        """Centre of the thing as (x, y) in pixels."""
        x, y = (place * CELL_SIDE + CELL_SIDE // 2 for place in (self.column, self.row))
        return x + self.shift_x, y + self.shift_y


@dataclass(frozen=True)
class Scene:
    """Things in reading order (row by row, left to right) on a pale background."""

    seed: int
    things: tuple[Thing, ...]
    background: Rgb

    @property
    def layout(self) -> Layout:
        """What is where, without size, shift and shade: two scenes may share it."""
        return frozenset((t.colour, t.shape, t.row, t.column) for t in self.things)

    def at(self, row: int, column: int) -> Thing | None:
        """The thing in a cell, or None."""
        return next((t for t in self.things if (t.row, t.column) == (row, column)), None)


@dataclass(frozen=True)
class Question:
    """A question about one scene and its only right answer. ``kind`` names its template."""

    kind: str
    text: str
    answer: str


# --- scenes -----------------------------------------------------------------------------------


def make_scene(seed: int, fewest: int = 1, most: int = MOST_THINGS) -> Scene:
    """Draw the scene of ``seed`` with ``fewest`` to ``most`` things (both included, at most 9)."""
    rng = random.Random(f"scene {seed}")
    cells = sorted(rng.sample(range(GRID_SIDE**2), rng.randint(fewest, most)))
    # A scene draws from a few colours and shapes, so that counts above one are common.
    colours = rng.sample(list(COLOURS), rng.randint(2, len(COLOURS)))
    shapes = rng.sample(SHAPES, rng.randint(2, len(SHAPES)))
    things = tuple(_make_thing(rng, cell, colours, shapes) for cell in cells)
    pale = rng.randint(225, 255)
    return Scene(seed=seed, things=things, background=_near(rng, (pale, pale, pale), 6))


def _near(rng: random.Random, rgb: Rgb, most: int) -> Rgb:
    red, green, blue = (min(255, max(0, c + rng.randint(-most, most))) for c in rgb)
    return red, green, blue


def _make_thing(rng: random.Random, cell: int, colours: list[str], shapes: list[str]) -> Thing:
    colour = rng.choice(colours)
    size = rng.randint(58, 92)
    slack = (CELL_SIDE - size) // 2 - 4
    return Thing(
        colour=colour,
        shape=rng.choice(shapes),
        row=cell // GRID_SIDE,
        column=cell % GRID_SIDE,
        size=size,
        shift_x=rng.randint(-slack, slack),
        shift_y=rng.randint(-slack, slack),
        rgb=_near(rng, COLOURS[colour], 14),
    )


def held_out_scenes(count: int = 200) -> list[Scene]:
    """The first ``count`` scenes that no training run may see."""
    return [make_scene(seed) for seed in HELD_OUT_SEEDS[:count]]


def training_seeds(start: int = 0, fewest: int = 1, most: int = MOST_THINGS) -> Iterator[int]:
    """Training seeds from ``start``, leaving out every layout that a held-out scene has.

    ``fewest`` and ``most`` are those that the scenes will be drawn with.
    """
    held_out_layouts = {scene.layout for scene in held_out_scenes(len(HELD_OUT_SEEDS))}
    for seed in TRAIN_SEEDS[start:]:
        if make_scene(seed, fewest, most).layout not in held_out_layouts:
            yield seed


def sample_scene() -> Scene:
    """The scene of the built-in sample picture; held out from training."""
    return make_scene(SAMPLE_SEED)


# --- pictures ---------------------------------------------------------------------------------


def render(scene: Scene, oversample: int = 2) -> Image.Image:
    """Draw the scene: an RGB picture of 336 x 336, drawn larger and reduced for smooth edges."""
    side = PICTURE_SIDE * oversample
    picture = Image.new("RGB", (side, side), scene.background)
    draw = ImageDraw.Draw(picture)
    for thing in scene.things:
        _draw(draw, thing, oversample, thing.rgb)
    return picture.reduce(oversample) if oversample > 1 else picture


def render_labels(scene: Scene) -> Image.Image:
    """Which thing covers each pixel: greyscale 336 x 336, 0 for none, else its index plus one."""
    picture = Image.new("L", (PICTURE_SIDE, PICTURE_SIDE), 0)
    draw = ImageDraw.Draw(picture)
    for index, thing in enumerate(scene.things, start=1):
        _draw(draw, thing, 1, index)
    return picture


def _draw(draw: ImageDraw.ImageDraw, thing: Thing, scale: int, fill: int | Rgb) -> None:
    x, y = (c * scale for c in thing.centre)
    radius = thing.size * scale / 2
    if thing.shape == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    elif thing.shape == "square":
        half = radius * 0.86
        draw.rectangle((x - half, y - half, x + half, y + half), fill=fill)
    elif thing.shape == "triangle":
        corners = [(x, y - radius), (x + radius, y + 0.8 * radius), (x - radius, y + 0.8 * radius)]
        draw.polygon(corners, fill=fill)
    else:
        draw.polygon(_star_corners(x, y, radius), fill=fill)


def _star_corners(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    corners = []
    for i in range(10):
        reach = radius if i % 2 == 0 else radius * 0.45
        angle = math.pi * (i / 5 - 0.5)
        corners.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return corners


# --- words ------------------------------------------------------------------------------------


def place_name(row: int, column: int) -> str:
    """``top left`` to ``bottom right``; the middle cell is ``centre``."""
    if (row, column) == (1, 1):
        return "centre"
    return f"{ROWS[row]} {COLUMNS[column]}"


def with_article(noun: str) -> str:
    """``a red circle``, ``an orange star``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _count_sentence(count: int, noun: str) -> str:
    if count == 1:
        return f"There is one {noun}."
    return f"There are {NUMBERS[count]} {noun}s."


def describe(scene: Scene) -> str:
    """The scene in sentences: how many shapes, then each in reading order."""
    sentences = [_count_sentence(len(scene.things), "shape")]
    for thing in scene.things:
        place = place_name(thing.row, thing.column)
        sentences.append(f"In the {place} is {with_article(thing.name)}.")
    return " ".join(sentences)


# --- questions --------------------------------------------------------------------------------

DESCRIBE_PROMPTS: tuple[str, ...] = (
    "Describe the picture.",
    "Describe the image.",
    "Describe this picture.",
    "Describe this image in detail.",
    "What is shown in this image?",
    "What is in the picture?",
    "What do you see?",
)


def _ask_colour(scene: Scene, rng: random.Random) -> Question | None:
    shapes = [s for s in SHAPES if sum(t.shape == s for t in scene.things) == 1]
    if not shapes:
        return None
    shape = rng.choice(shapes)
    thing = next(t for t in scene.things if t.shape == shape)
    text = rng.choice(("What colour is the {}?", "What color is the {}?"))
    return Question("colour", text.format(shape), f"The {shape} is {thing.colour}.")


def _ask_shape(scene: Scene, rng: random.Random) -> Question | None:
    colours = [c for c in COLOURS if sum(t.colour == c for t in scene.things) == 1]
    if not colours:
        return None
    colour = rng.choice(colours)
    thing = next(t for t in scene.things if t.colour == colour)
    text = rng.choice(("What shape is {}?", "What is the {} shape?"))
    answer = f"The {colour} shape is {with_article(thing.shape)}."
    return Question("shape", text.format(colour), answer)


def _prefer_present(rng: random.Random, present: list[str], possible: list[str]) -> str:
    """Mostly something that is in the picture; sometimes anything."""
    return rng.choice(present if rng.random() < 0.75 else possible)


def _ask_count_shape(scene: Scene, rng: random.Random) -> Question | None:
    shape = _prefer_present(rng, sorted({t.shape for t in scene.things}), list(SHAPES))
    count = sum(t.shape == shape for t in scene.things)
    text = rng.choice(("How many {}s are there?", "Count the {}s."))
    return Question("count_shape", text.format(shape), _count_sentence(count, shape))


def _ask_count_colour(scene: Scene, rng: random.Random) -> Question | None:
    colour = _prefer_present(rng, sorted({t.colour for t in scene.things}), list(COLOURS))
    count = sum(t.colour == colour for t in scene.things)
    text = rng.choice(("How many {} shapes are there?", "Count the {} shapes."))
    return Question("count_colour", text.format(colour), _count_sentence(count, f"{colour} shape"))


def _ask_count_all(scene: Scene, rng: random.Random) -> Question | None:
    text = rng.choice(("How many shapes are there?", "How many things are there?"))
    return Question("count_all", text, _count_sentence(len(scene.things), "shape"))


def _unique_names(scene: Scene) -> list[Thing]:
    names = [t.name for t in scene.things]
    return [t for t in scene.things if names.count(t.name) == 1]


def _ask_where(scene: Scene, rng: random.Random) -> Question | None:
    candidates = _unique_names(scene)
    if not candidates:
        return None
    thing = rng.choice(candidates)
    place = place_name(thing.row, thing.column)
    alone = sum(t.shape == thing.shape for t in scene.things) == 1
    name = thing.shape if alone and rng.random() < 0.5 else thing.name
    return Question("where", f"Where is the {name}?", f"The {name} is in the {place}.")


def _ask_at(scene: Scene, rng: random.Random) -> Question | None:
    if rng.random() < 0.75:
        present = rng.choice(scene.things)
        row, column = present.row, present.column
    else:
        row, column = rng.randrange(GRID_SIDE), rng.randrange(GRID_SIDE)
    thing = scene.at(row, column)
    place = place_name(row, column)
    subject = with_article(thing.name) if thing else "nothing"
    text = f"What is in the {place}?"
    return Question("at", text, _sentence(f"{subject} is in the {place}"))


def _ask_exists(scene: Scene, rng: random.Random) -> Question | None:
    if rng.random() < 0.5:
        name = rng.choice(scene.things).name
    else:
        present = {t.name for t in scene.things}
        # A colour or a shape that is there, in a combination that is not: the hard kind of no.
        colours = [*sorted({t.colour for t in scene.things}), rng.choice(list(COLOURS))]
        shapes = [*sorted({t.shape for t in scene.things}), rng.choice(SHAPES)]
        absent = sorted({f"{c} {s}" for c in colours for s in shapes} - present)
        if not absent:
            return None
        name = rng.choice(absent)
    yes = any(t.name == name for t in scene.things)
    answer = f"Yes, there is {with_article(name)}." if yes else f"No, there is no {name}."
    return Question("exists", f"Is there {with_article(name)}?", answer)


_ON_SIDE: dict[str, Callable[[Thing, Thing], bool]] = {
    "left of": lambda thing, anchor: thing.column < anchor.column,
    "right of": lambda thing, anchor: thing.column > anchor.column,
    "above": lambda thing, anchor: thing.row < anchor.row,
    "below": lambda thing, anchor: thing.row > anchor.row,
}


def _ask_relation(scene: Scene, rng: random.Random) -> Question | None:
    """Asked only where "left of" means one thing, read loosely (any row) or strictly (same row)."""
    found: list[tuple[str, Thing, Thing | None]] = []
    for anchor in _unique_names(scene):
        for relation, on_side in _ON_SIDE.items():
            loose = [t for t in scene.things if on_side(t, anchor)]
            across = relation in ("left of", "right of")
            strict = [
                t for t in loose if (t.row == anchor.row if across else t.column == anchor.column)
            ]
            if loose == strict and len(loose) <= 1:
                found.append((relation, anchor, loose[0] if loose else None))
    if not found:
        return None
    some = [f for f in found if f[2] is not None]
    relation, anchor, thing = rng.choice(some if some and rng.random() < 0.7 else found)
    subject = with_article(thing.name) if thing else "nothing"
    text = f"What is {relation} the {anchor.name}?"
    return Question("relation", text, _sentence(f"{subject} is {relation} the {anchor.name}"))


def _ask_describe(scene: Scene, rng: random.Random) -> Question | None:
    return Question("describe", rng.choice(DESCRIBE_PROMPTS), describe(scene))


_ASKERS: dict[str, Callable[[Scene, random.Random], Question | None]] = {
    "colour": _ask_colour,
    "shape": _ask_shape,
    "count_shape": _ask_count_shape,
    "count_colour": _ask_count_colour,
    "count_all": _ask_count_all,
    "where": _ask_where,
    "at": _ask_at,
    "exists": _ask_exists,
    "relation": _ask_relation,
    "describe": _ask_describe,
}
QUESTION_KINDS: tuple[str, ...] = tuple(kind for kind in _ASKERS if kind != "describe")


def ask(scene: Scene, kind: str, seed: int = 0) -> Question | None:
    """One question of ``kind`` about ``scene``; None where it would have no single answer."""
    return _ASKERS[kind](scene, random.Random(f"{kind} {scene.seed} {seed}"))


def ask_all(scene: Scene, seed: int = 0) -> list[Question]:
    """One question of each kind that the scene allows, without the description."""
    questions = (ask(scene, kind, seed) for kind in QUESTION_KINDS)
    return [question for question in questions if question is not None]
