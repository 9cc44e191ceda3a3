"""Two answers side by side: what they share, the first difference, and what follows it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

_WORD = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class AnswerParts:
    """An answer cut in three; `ended` says that it stops where another one goes on."""

    shared: str
    different: str = ""
    rest: str = ""
    ended: bool = False


def answer_parts(runs: list[dict[str, Any]], position: int | None) -> list[AnswerParts]:
    """Cut each run's answer at the first difference, in the order of `runs`.

    `position` is the index of the first differing token. Where the tokens' texts do not add up to
    the answers, the answers are cut at the first differing word.
    """
    answers = [str(run.get("answer") or "") for run in runs]
    if len(set(answers)) == 1:
        return [AnswerParts(answer) for answer in answers]
    by_token = [_cut_at_token(run, position) for run in runs]
    found = [parts for parts in by_token if parts is not None]
    if len(found) == len(runs) and all(parts.shared == found[0].shared for parts in found):
        return [_space_outside(parts) for parts in found]
    return [_space_outside(parts) for parts in _cut_at_word(answers)]


def _space_outside(parts: AnswerParts) -> AnswerParts:
    """Tokens begin with a space, which is not part of what differs."""
    different = parts.different.lstrip()
    space = parts.different[: len(parts.different) - len(different)] if different else ""
    return replace(parts, shared=parts.shared + space, different=different or parts.different)


def _cut_at_token(run: dict[str, Any], position: int | None) -> AnswerParts | None:
    texts, answer = run.get("token_texts") or [], str(run.get("answer") or "")
    if position is None or not 0 <= position <= len(texts):
        return None
    whole = "".join(texts)
    indent = len(whole) - len(whole.lstrip())
    shared = "".join(texts[:position])[indent:]
    different = texts[position] if position < len(texts) else ""
    if not answer.startswith(shared):
        return None
    following = answer[len(shared) :]
    if not following:
        return AnswerParts(shared, ended=True)
    if not different or not following.startswith(different):
        return None
    return AnswerParts(shared, different, following[len(different) :])


def _cut_at_word(answers: list[str]) -> list[AnswerParts]:
    words = [_WORD.findall(answer) for answer in answers]
    same = 0
    while all(len(w) > same for w in words) and len({w[same] for w in words}) == 1:
        same += 1
    return [
        AnswerParts("".join(w[:same]), "".join(w[same : same + 1]), "".join(w[same + 1 :]),
                    ended=len(w) <= same)
        for w in words
    ]  # fmt: skip
