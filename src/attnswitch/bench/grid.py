"""The grid of workloads: subjects × lengths × phases × batches × dtypes, as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attnswitch.bench.workload import Kind, Part, Workload
from attnswitch.errors import InputError, ModelInputError
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import TEXT_TOKENS, sample, tile_counts

Size = dict[str, Any]


@dataclass(frozen=True)
class Lengths:
    """What varies the length of a sequence; nothing given is the geometry's own picture or video.

    `tokens` are whole prompts: the picture with most tiles that fits, and text for the rest. With
    `tiles`, `frames` or `images` there are `text_tokens` of text beside them.
    """

    tokens: tuple[int, ...] = ()
    tiles: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    images: tuple[int, ...] = ()
    text_tokens: int = TEXT_TOKENS

    def sizes(self, geometry: Geometry) -> Iterator[Size]:
        """Each length as `geometries.samples.sample` takes it.

        Raises:
            ModelInputError: the geometry takes no such length.
        """
        for tokens in self.tokens:
            yield _size_of_tokens(geometry, tokens)
        for name in ("tiles", "frames", "images"):
            for count in getattr(self, name):
                yield {name: count, "text_tokens": self.text_tokens}
        if not (self.tokens or self.tiles or self.frames or self.images):
            own = {"frames": geometry.frames} if geometry.frames else {"images": 1}
            yield {**own, "text_tokens": self.text_tokens}


def _size_of_tokens(geometry: Geometry, tokens: int) -> Size:
    """A prompt of exactly so many tokens: the picture with most tiles that fits, the rest text."""
    for size in _pictures(geometry):
        taken = sample(geometry, **size, text_tokens=0).tokens
        if taken < tokens:
            return {**size, "text_tokens": tokens - taken}
    return {"images": 0, "text_tokens": tokens}


def _pictures(geometry: Geometry) -> Iterator[Size]:
    rule = geometry.image
    if rule.kind == "native":
        yield {"images": 1}
        return
    for tiles in reversed(tile_counts(rule, geometry.vision.image_size)):
        yield {"tiles": tiles}


def workloads(
    geometry: Geometry,
    subject: str,
    kind: Kind,
    part: Part,
    *,
    phases: Sequence[str],
    lengths: Lengths,
    batches: Sequence[int] = (1,),
    dtypes: Sequence[str | None] = (None,),
    device: str = "cpu",
) -> list[Workload]:
    """The workloads of one subject, each once, the shortest first in each phase.

    `subject` is the name that `geometries.find.geometry` takes. A dtype of None is the geometry's
    own. Lengths without pictures have no vision phase.

    Raises:
        ModelInputError: a length that the geometry does not take, or beyond its context where the
            whole model runs.
    """
    found: dict[str, Workload] = {}
    sizes = sorted(
        lengths.sizes(geometry), key=lambda size: sample(geometry, **size).tokens
    )  # fmt: skip
    for dtype in dtypes:
        for phase in phases:
            for size in sizes:
                for batch in batches:
                    one = _workload(
                        geometry, subject, kind, part, phase, size, batch, dtype, device
                    )  # fmt: skip
                    if one is not None:
                        found.setdefault(_identity(one), one)
    if not found:
        raise InputError(
            f"nothing to measure of {geometry.name}: no picture is given for the vision phase"
        )
    return list(found.values())


def _workload(
    geometry: Geometry, subject: str, kind: Kind, part: Part, phase: str, size: Size, batch: int,
    dtype: str | None, device: str,
) -> Workload | None:  # fmt: skip
    shape = sample(geometry, **size)
    if phase == "vision" and not shape.tiles:
        return None
    context = geometry.language.context
    if part == "whole" and phase != "vision" and shape.tokens > context:
        raise ModelInputError(
            f"{shape.tokens:,} tokens exceed the context of {geometry.name}, {context:,}: ask for "
            "fewer, or for --attention-only"
        )
    if phase == "vision":  # text is no part of it
        size = {name: count for name, count in size.items() if name != "text_tokens"}
    return Workload(
        subject, kind, part, phase,
        tokens=shape.patches if phase == "vision" else shape.tokens,
        batch=batch, dtype=dtype or geometry.dtype, device=device,
        views=shape.tiles, image_tokens=shape.image_tokens, size=size,
    )  # fmt: skip


def _identity(one: Workload) -> str:
    return repr(sorted((name, repr(value)) for name, value in one.to_json().items()))


def total_work(one: Workload) -> float:
    """A rough measure of how long a workload takes beside others: for the time left, no more.

    Time grows linearly with tokens through the weights and with their square through attention;
    a decoded token passes the weights once.
    """
    views = max(one.views, 1) if one.phase == "vision" else 1
    tokens: float = one.tokens * one.batch * views
    if one.phase == "decode":
        return 1.0 + tokens / 4096
    work = tokens * (1 + one.tokens / 2048)
    return 3 * work if one.phase == "training_step" else work
