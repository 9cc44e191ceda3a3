"""Find a geometry: by its name, or from a checkpoint's folder or hub id (its config.json alone)."""

from __future__ import annotations

from pathlib import Path

from attnswitch.errors import ModelInputError, did_you_mean
from attnswitch.geometries.catalogue import BUILTIN_NAMES, CATALOGUE
from attnswitch.geometries.geometry import Geometry

DEMO = "demo"


def names() -> list[str]:
    """All names that `geometry` takes beside folders."""
    return [DEMO, *CATALOGUE]


def geometry(name: str | None = None) -> Geometry:
    """The geometry of that name, or of the checkpoint in that folder or of that hub id.

    None and "demo" are the built-in LLaVA. Hub ids need a path separator or an existing folder;
    "llava-hf/llava-1.5-7b-hf" is looked up among the names first.

    Raises:
        ModelInputError: no such name or folder, or a model of another kind.
        UnavailableError: the hub cannot be reached, or transformers is missing.
    """
    if name is None or name.strip().lower() in BUILTIN_NAMES:
        return _from_checkpoint(None)
    word = name.strip()
    found = CATALOGUE.get(_plain(word))
    if found is not None and not Path(word).is_dir():
        return found
    if "/" in word or Path(word).exists() or word.startswith((".", "~")):
        return _from_checkpoint(word)
    hint = did_you_mean(word, names())
    raise ModelInputError(
        f"no geometry {name!r}{hint}; there are {', '.join(names())}; or give a checkpoint's folder"
    )


def _plain(word: str) -> str:
    """A name as the catalogue writes it: hub ids and spellings of the same model are one."""
    owner, _, last = word.rpartition("/")
    plain = last.lower().replace("_", "-").replace(" ", "-")
    if owner.lower() not in ("", "llava-hf", "languagebind", "qwen", "liuhaotian", "lmms-lab"):
        return ""
    for ending in ("-hf", "-ov", "-instruct"):
        plain = plain.removesuffix(ending)
    plain = plain.replace("llava-v1.5-", "llava-1.5-").replace("llava-next-video", "next-video")
    plain = plain.replace("next-video", "llava-next-video")
    return plain.replace("onevision-qwen2-", "onevision-")


def _from_checkpoint(where: str | None) -> Geometry:
    from attnswitch.geometries.reading import read_config
    from attnswitch.models.skeleton import configuration

    config, shown = configuration(where)
    return read_config(config, shown)
