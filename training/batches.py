"""Scenes as tensors: pictures, labels for each patch, and packed questions and answers.

Shape letters: B pictures, P patches (576), T text tokens, S = prefix + T tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from build import ASSISTANT_PREFIX, EOS, PATCH, PATCHES_PER_SIDE, casual
from transformers import LlavaProcessor, PreTrainedTokenizerFast

from attnswitch.models import scenes

COLOUR_IDS = {name: i for i, name in enumerate(scenes.COLOURS, start=1)}
SHAPE_IDS = {name: i for i, name in enumerate(scenes.SHAPES, start=1)}
IGNORE = -100


def pixel_values(batch: list[scenes.Scene], processor: LlavaProcessor) -> torch.Tensor:
    """Normalised pictures [B, 3, 336, 336], as the processor makes them of 336 x 336 pictures."""
    image_processor = processor.image_processor
    mean = torch.tensor(image_processor.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(image_processor.image_std).view(1, 3, 1, 1)
    pictures = np.stack([np.asarray(scenes.render(scene)) for scene in batch])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() * image_processor.rescale_factor
    return (pixels - mean) / std


@dataclass(frozen=True)
class PatchLabels:
    """What a patch shows and what its cell holds (0 means nothing), and which cell: each [B, P]."""

    patch_colour: torch.Tensor
    patch_shape: torch.Tensor
    cell_colour: torch.Tensor
    cell_shape: torch.Tensor
    cell: torch.Tensor

    SIZES: ClassVar[dict[str, int]] = {
        "patch_colour": len(COLOUR_IDS) + 1,
        "patch_shape": len(SHAPE_IDS) + 1,
        "cell_colour": len(COLOUR_IDS) + 1,
        "cell_shape": len(SHAPE_IDS) + 1,
        "cell": scenes.GRID_SIDE**2,
    }


def patch_labels(batch: list[scenes.Scene]) -> PatchLabels:
    """Labels for every patch of every scene."""
    per_scene = [_labels_of(scene) for scene in batch]
    stacked = torch.from_numpy(np.stack(per_scene)).flatten(2)
    return PatchLabels(*stacked.unbind(1))


def _labels_of(scene: scenes.Scene) -> np.ndarray:
    """[5, 24, 24], in the order of :class:`PatchLabels`."""
    colour_of = np.array([0] + [COLOUR_IDS[t.colour] for t in scene.things], dtype=np.int64)
    shape_of = np.array([0] + [SHAPE_IDS[t.shape] for t in scene.things], dtype=np.int64)
    thing_at = np.asarray(scenes.render_labels(scene))[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]
    cells = np.zeros((scenes.GRID_SIDE, scenes.GRID_SIDE), dtype=np.int64)
    for index, thing in enumerate(scene.things, start=1):
        cells[thing.row, thing.column] = index
    cell = np.arange(scenes.GRID_SIDE**2).reshape(cells.shape)
    cell, cell_thing = (_for_each_patch(values) for values in (cell, cells))
    return np.stack(
        [
            colour_of[thing_at],
            shape_of[thing_at],
            colour_of[cell_thing],
            shape_of[cell_thing],
            cell,
        ]
    )


def _for_each_patch(per_cell: np.ndarray) -> np.ndarray:
    """[3, 3] to [24, 24]."""
    side = PATCHES_PER_SIDE // scenes.GRID_SIDE
    return per_cell.repeat(side, axis=0).repeat(side, axis=1)


@dataclass(frozen=True)
class Text:
    """Packed dialogues [B, T]. ``dialogue`` numbers them from 0 within a row; -1 is padding."""

    token_ids: torch.Tensor
    targets: torch.Tensor
    dialogue: torch.Tensor
    offset: torch.Tensor


class Dialogues:
    """Turns scenes into packed dialogues. Dialogues of one picture do not see each other."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self.tokenizer = tokenizer
        self.rng = random.Random(f"dialogues {seed}")
        self.end_id = tokenizer.convert_tokens_to_ids(EOS)
        self.known: dict[str, list[int]] = {}

    def pack(self, batch: list[scenes.Scene], rounds: int) -> Text:
        """For each scene its description once and ``rounds`` questions of each kind."""
        rows = [self._row(scene, rounds) for scene in batch]
        length = max(len(row[0]) for row in rows)
        fills = (self.tokenizer.pad_token_id, IGNORE, -1, 0)
        columns = []
        for part, fill in enumerate(fills):
            padded = [row[part] + [fill] * (length - len(row[part])) for row in rows]
            columns.append(torch.tensor(padded, dtype=torch.long))
        return Text(*columns)

    def _row(self, scene: scenes.Scene, rounds: int) -> tuple[list[int], ...]:
        token_ids: list[int] = []
        targets: list[int] = []
        dialogue: list[int] = []
        offset: list[int] = []
        for number, turns in enumerate(self._conversations(scene, rounds)):
            ids, wanted = self._tokenize(turns)
            token_ids += ids
            targets += wanted
            dialogue += [number] * len(ids)
            offset += range(len(ids))
        return token_ids, targets, dialogue, offset

    def _conversations(self, scene: scenes.Scene, rounds: int) -> list[list[scenes.Question]]:
        """Mostly single turns; about one conversation in eight has two."""
        asked = [scenes.ask(scene, "describe", self.rng.randrange(10**9))]
        for _ in range(rounds):
            asked += scenes.ask_all(scene, self.rng.randrange(10**9))
        self.rng.shuffle(asked)
        conversations: list[list[scenes.Question]] = []
        for question in asked:
            if conversations and len(conversations[-1]) == 1 and self.rng.random() < 0.12:
                conversations[-1].append(question)
            else:
                conversations.append([question])
        return conversations

    def _tokenize(self, turns: list[scenes.Question]) -> tuple[list[int], list[int]]:
        """Token ids of a conversation, and for each token the next one where it is an answer's."""
        ids: list[int] = []
        is_answer: list[bool] = []
        for number, turn in enumerate(turns):
            text = casual(turn.text) if self.rng.random() < 0.1 else turn.text
            prompt = ("USER: " if number else "") + text + ASSISTANT_PREFIX
            prompt_ids = self._encode(prompt)
            answer_ids = [*self._encode(" " + turn.answer), self.end_id]
            ids += prompt_ids + answer_ids
            is_answer += [False] * len(prompt_ids) + [True] * len(answer_ids)
        targets = [
            following if wanted else IGNORE
            for following, wanted in zip(ids[1:], is_answer[1:], strict=True)
        ]
        return ids, [*targets, IGNORE]

    def _encode(self, text: str) -> list[int]:
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.known[text]


def visible(text: Text, prefix_length: int) -> torch.Tensor:
    """Who sees whom, boolean [B, 1, S, S]: the prefix causally, each dialogue itself besides."""
    batch, length = text.dialogue.shape
    total = prefix_length + length
    causal = torch.ones(total, total, dtype=torch.bool).tril()
    same = text.dialogue[:, :, None] == text.dialogue[:, None, :]
    mask = causal.expand(batch, 1, total, total).clone()
    mask[:, 0, prefix_length:, prefix_length:] &= same
    return mask


def scene_batches(
    seeds: Iterator[int], batch_size: int, fewest: int = 1, most: int = scenes.MOST_THINGS
) -> Iterator[list[scenes.Scene]]:
    """Endless batches of new scenes."""
    while True:
        yield [scenes.make_scene(next(seeds), fewest, most) for _ in range(batch_size)]
