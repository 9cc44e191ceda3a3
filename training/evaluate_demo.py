"""Exact-match accuracy of the built-in LLaVA on held-out scenes, under several attention requests.

    python training/evaluate_demo.py src/attnswitch/models/demo --attn flash standard

An answer counts only if every character is right. Requests that attnswitch knows go through
``attnswitch.apply``; ``torch-flash`` and ``torch-math`` use PyTorch's own ``sdpa_kernel`` and
``eager`` the model's own code, so that the switch does not vouch for itself.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoProcessor, LlavaForConditionalGeneration

from attnswitch.models import scenes

OUTSIDE_THE_SWITCH = {
    "torch-flash": SDPBackend.FLASH_ATTENTION,
    "torch-math": SDPBackend.MATH,
}


@dataclass(frozen=True)
class Asked:
    """A question with the scene it is about."""

    scene: scenes.Scene
    question: scenes.Question


def held_out_questions(scene_count: int, per_scene: int) -> list[Asked]:
    """For each held-out scene its description and ``per_scene`` questions, kinds in rotation."""
    asked = []
    for index, scene in enumerate(scenes.held_out_scenes(scene_count)):
        possible = scenes.ask_all(scene, seed=1)
        first = index * per_scene % len(possible)
        chosen = (possible + possible)[first : first + min(per_scene, len(possible))]
        description = scenes.ask(scene, "describe", seed=1)
        asked += [Asked(scene, question) for question in [*chosen, description]]
    return asked


@contextmanager
def attention(model: LlavaForConditionalGeneration, request: str) -> Iterator[None]:
    """Run ``model`` under ``request`` and put it back."""
    if request == "eager":
        before = model.config._attn_implementation
        model.set_attn_implementation("eager")
        try:
            yield
        finally:
            model.set_attn_implementation(before)
    elif request in OUTSIDE_THE_SWITCH:
        with sdpa_kernel(OUTSIDE_THE_SWITCH[request]):
            yield
    else:
        import attnswitch

        plan = attnswitch.apply(model, request)
        try:
            yield
        finally:
            plan.undo()


@torch.inference_mode()
def answer(model, processor, asked: list[Asked], batch_size: int) -> list[str]:
    """Greedy answers, in the order asked; batches are made of prompts of like length."""
    answers = [""] * len(asked)
    # Long answers together: a batch runs until its longest answer ends.
    order = sorted(range(len(asked)), key=lambda i: len(asked[i].question.answer))
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        chats = [_chat(asked[i].question.text) for i in indices]
        inputs = processor(
            images=[scenes.render(asked[i].scene) for i in indices],
            text=processor.apply_chat_template(chats, add_generation_prompt=True),
            padding=True,
            return_tensors="pt",
        )
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        tokens = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(
            indices, processor.batch_decode(tokens, skip_special_tokens=True), strict=True
        ):
            answers[i] = text.strip()
    return answers


def _chat(text: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]


def score(asked: list[Asked], answers: list[str]) -> dict[str, object]:
    """Share of exact answers: over all, over questions, over descriptions, and by kind."""
    right: dict[str, list[bool]] = defaultdict(list)
    wrong = []
    for one, given in zip(asked, answers, strict=True):
        exact = given == one.question.answer
        group = "descriptions" if one.question.kind == "describe" else "questions"
        for name in ("all", group, one.question.kind):
            right[name].append(exact)
        if not exact:
            wrong.append(
                {
                    "scene": one.scene.seed,
                    "question": one.question.text,
                    "expected": one.question.answer,
                    "given": given,
                }
            )
    accuracy = {name: sum(r) / len(r) for name, r in sorted(right.items())}
    counts = {name: len(r) for name, r in sorted(right.items())}
    return {"accuracy": accuracy, "counts": counts, "wrong": wrong}


def main() -> None:
    """Evaluate and print a table; write all of it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attn", nargs="+", default=["flash", "standard"], metavar="REQUEST")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--questions", type=int, default=4, help="questions for each scene")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    processor = AutoProcessor.from_pretrained(args.folder)
    model = LlavaForConditionalGeneration.from_pretrained(args.folder, dtype=args.dtype).eval()
    asked = held_out_questions(args.scenes, args.questions)
    results = {}
    for request in args.attn:
        started = time.monotonic()
        with attention(model, request):
            answers = answer(model, processor, asked, args.batch)
        results[request] = {**score(asked, answers), "answers": answers}
        accuracy = results[request]["accuracy"]
        print(f"{request} ({model.dtype}, {time.monotonic() - started:.0f} s)")
        for name, value in accuracy.items():
            print(f"  {name:14} {100 * value:6.2f} %  of {results[request]['counts'][name]}")
        for miss in results[request]["wrong"][:8]:
            print(f"  {miss}")
    first = results[args.attn[0]]["answers"]
    for request in args.attn[1:]:
        same = sum(a == b for a, b in zip(first, results[request]["answers"], strict=True))
        print(f"{request} answers as {args.attn[0]} does: {same} of {len(first)}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
