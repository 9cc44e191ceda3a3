"""Comparison records for the tests of reports: a realistic one, and one that means harm."""

from __future__ import annotations

import base64
import io
import random
from typing import Any

from PIL import Image, ImageDraw

FLASH_OP = "aten::_scaled_dot_product_flash_attention_for_cpu"
BLOCKWISE_OP = "attnswitch::blockwise"
ANSWER = "A red circle at the top left, a blue star in the centre and a green square below it."


def comparison(
    vision_layers: int = 4, language_layers: int = 6, different: bool = False, agrees: bool = True
) -> dict[str, Any]:
    """The built-in model under flash and under standard, with nine interleaved rounds."""
    chance = random.Random(5)
    shape = vision_layers, language_layers
    runs = [
        _run("flash", "flash", FLASH_OP, "op", shape, 0.412, 0.0181, 812, chance),
        _run("standard", "blockwise", BLOCKWISE_OP, "guarded", shape, 0.471, 0.0184, 815, chance),
    ]
    if different:
        _let_answers_differ(runs)
    return {
        "schema": "attnswitch.comparison/1",
        "model": {
            "name": "llava-scenes",
            "class": "LlavaForConditionalGeneration",
            "parameters": 5_312_768,
            "dtype": "bfloat16",
            "device": "cpu",
            "builtin": True,
        },
        "prompt": "Describe the picture in one sentence.",
        "images": [{"name": "scene.png", "data_uri": picture()}],
        "settings": {"max_new_tokens": 64, "rounds": 9, "seed": 0},
        "environment": environment(),
        "runs": runs,
        "ratios": {
            "prefill": {"median": 1.143, "low": 1.108, "high": 1.171},
            "decode_per_token": {"median": 1.015, "low": 0.982, "high": 1.049},
            "peak_bytes": {"median": 1.0037, "low": 1.0037, "high": 1.0037},
        },
        "verdict": _verdict(shape, different, agrees),
    }


def trace(receipts: list[dict[str, Any]]) -> dict[str, Any]:
    """A trace record around receipts."""
    return {"schema": "attnswitch.trace/1", "receipts": receipts}


def receipts(
    request: str, backend: str, op: str, evidence: str, vision_layers: int, language_layers: int
) -> list[dict[str, Any]]:
    """One receipt for each layer and phase, in the order in which they ran."""
    tower = [f"model.vision_tower.encoder.layers.{n}.self_attn" for n in range(vision_layers)]
    decoder = [f"model.language_model.layers.{n}.self_attn" for n in range(language_layers)]
    common = {
        "requested": request, "planned": backend, "backend": backend, "executed": [op],
        "evidence": evidence, "family": "flash" if backend == "flash" else "standard",
        "process": 4242, "dtype": "bfloat16", "mask": "causal", "refused": [],
    }  # fmt: skip
    shapes = [[[1, 8, 600, 64], [1, 4, 600, 64], [1, 4, 600, 64]]]
    where = [(site, "vision_tower", "vision", 1) for site in tower]
    where += [(site, "language_model", "prefill", 1) for site in decoder]
    where += [(site, "language_model", "decode", 22) for site in decoder]
    return [
        dict(common, site=site, role=role, phase=phase, calls=calls, shapes=shapes)
        for site, role, phase, calls in where
    ]


def environment() -> dict[str, Any]:
    """A machine as attnswitch.environment describes it."""
    return {
        "attnswitch": "0.1.0",
        "python": "3.12.4",
        "system": "Linux 6.8.0",
        "processor": "Intel(R) Xeon(R) Processor @ 2.80GHz",
        "cpu_flags": ["avx2", "avx512f"],
        "cores": 2,
        "packages": {"torch": "2.13.0+cpu", "transformers": "5.23.0", "numpy": "2.4.6"},
        "devices": [],
        "threads": 2,
    }


def picture(side: int = 336) -> str:
    """A small scene as a data URI."""
    image = Image.new("RGB", (side, side), (236, 233, 226))
    draw = ImageDraw.Draw(image)
    draw.ellipse((24, 24, 96, 96), fill=(214, 40, 40))
    draw.polygon([(168, 126), (200, 210), (130, 158), (206, 158), (136, 210)], fill=(38, 84, 214))
    draw.rectangle((132, 244, 204, 316), fill=(46, 160, 67))
    held = io.BytesIO()
    image.save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def hostile(text: str) -> dict[str, Any]:
    """A comparison in which every text field is `text`."""
    record = comparison(2, 2, different=True, agrees=False)
    return _replace_strings(record, text)


def _replace_strings(value: Any, text: str, key: str = "") -> Any:
    keep = ("schema", "data_uri", "family", "phase", "role", "evidence")
    if isinstance(value, dict):
        return {k: v if k in keep else _replace_strings(v, text, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_replace_strings(item, text, key) for item in value]
    if not isinstance(value, str):
        return value
    return f"{text}{value}" if key in ("site", "request", "run") else text


def _run(
    request: str, backend: str, op: str, evidence: str, shape: tuple[int, int],
    prefill: float, per_token: float, mebibytes: int, chance: random.Random,
) -> dict[str, Any]:  # fmt: skip
    words = ANSWER.split(" ")
    texts = [words[0], *(f" {word}" for word in words[1:]), ""]
    return {
        "request": request,
        "source": f"--{'baseline' if request == 'flash' else 'candidate'}",
        "answer": ANSWER,
        "tokens": list(range(100, 100 + len(texts))),
        "token_texts": texts,
        "receipts": receipts(request, backend, op, evidence, *shape),
        "seconds": {"prefill": prefill, "decode_per_token": per_token},
        "samples": {
            "prefill": [prefill * chance.gauss(1, 0.04) for _ in range(9)],
            "decode_per_token": [per_token * chance.gauss(1, 0.06) for _ in range(9)],
        },
        "peak_bytes": mebibytes * 2**20,
    }


def _let_answers_differ(runs: list[dict[str, Any]]) -> None:
    texts = list(runs[1]["token_texts"])
    texts[8], texts[9] = " yellow", " square"
    runs[1] |= {"token_texts": texts, "answer": "".join(texts)}
    runs[1]["tokens"] = [*runs[1]["tokens"][:8], 901, 902, *runs[1]["tokens"][10:]]


def _verdict(shape: tuple[int, int], different: bool, agrees: bool) -> dict[str, Any]:
    chance = random.Random(7)
    first = {
        "position": 8,
        "baseline_token": " blue",
        "candidate_token": " yellow",
        "margin": 0.0312,
        "allowed": 0.0547,
        "near_tie": agrees,
    }
    told = "is within" if agrees else "is more than"
    return {
        "agrees": agrees,
        "explanation": f"The candidate's error in the logits {told} twice that of standard "
        "attention with fp32 scores, judged against float64.",
        "first_difference": first if different else None,
        "checks": [
            _check("flash", "logits", 0.0182, True),
            _check("standard", "logits", 0.0161 if agrees else 0.311, agrees),
            _check("standard", "logits, left-padded", 0.0169, True),
        ],
        "sites": [
            {
                **{key: receipt[key] for key in ("site", "role", "phase")},
                "local": _local(chance, agrees or index != shape[0] + 2),
            }
            for index, receipt in enumerate(
                receipts("standard", "blockwise", BLOCKWISE_OP, "guarded", *shape)
            )
        ],
    }


def _check(run: str, what: str, error: float, passes: bool) -> dict[str, Any]:
    return {
        "run": run,
        "what": what,
        "error": {"max": error, "rms": error / 6},
        "yardstick_error": {"max": 0.0158, "rms": 0.0027},
        "allowed": {"max": 0.0472, "rms": 0.0054},
        "passes": passes,
    }


def _local(chance: random.Random, passes: bool) -> dict[str, Any]:
    yardstick = 0.0039 * chance.uniform(0.7, 1.4)
    error = yardstick * (chance.uniform(0.8, 1.3) if passes else 9)
    return {
        "error": {"max": error, "rms": error / 7},
        "yardstick_error": {"max": yardstick, "rms": yardstick / 7},
        "allowed": {"max": 2 * yardstick + 0.004, "rms": 2 * yardstick / 7},
        "passes": passes,
    }
