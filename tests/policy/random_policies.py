"""Random policies, written as a user would, and random calls for them to decide."""

from __future__ import annotations

from hypothesis import strategies as st

PATHS = [
    ("model.vision_tower.encoder.layers.0.self_attn", "vision_tower", 0),
    ("model.vision_tower.encoder.layers.11.self_attn", "vision_tower", 11),
    ("model.vision_tower.head.attention", "vision_tower", None),
    ("model.multi_modal_projector.attn", "projector", None),
    ("model.language_model.layers.0.self_attn", "language_model", 0),
    ("model.language_model.layers.3.self_attn", "language_model", 3),
    ("model.language_model.layers.23.self_attn", "language_model", 23),
    ("decoder.blocks.5.attn", "language_model", 5),
    ("memory.attn", "other", None),
]
ROLES = ["vision_tower", "projector", "language_model", "other"]
LENGTHS = [1, 2, 3, 16, 63, 64, 65, 577, 4096, 4097]
CAPABILITIES = ["6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "12.0"]


def subset(words: list):
    one = st.sampled_from(words)
    return one | st.lists(one, min_size=1, max_size=3, unique=True)


@st.composite
def numbers(draw, values=tuple(LENGTHS)):
    """A number, a range, comparisons, or a list of those."""
    values = list(values)
    plain = st.sampled_from(values).map(lambda n: n if isinstance(n, int) else str(n))
    pair = st.tuples(st.sampled_from(values), st.sampled_from(values))
    ordered = pair.map(lambda p: sorted(p, key=values.index))
    spread = ordered.map(lambda p: f"{p[0]}-{p[1]}")
    compared = st.tuples(st.sampled_from(["<=", ">=", ">", "!="]), st.sampled_from(values)).map(
        lambda p: f"{p[0]}{p[1]}"
    )
    between = ordered.map(lambda p: f">={p[0]},<={p[1]}")
    several = st.tuples(st.sampled_from(values), spread).map(lambda p: f"{p[0]}, {p[1]}")
    single = plain | spread | compared | between | several
    return draw(single | st.lists(single, min_size=1, max_size=3))


CONDITIONS = {
    "role": subset(ROLES),
    "site": subset(
        ["model.vision_tower.*", "*.layers.*", "*self_attn", "decoder.*", "memory.attn"]
    ),
    "layers": numbers((0, 1, 3, 4, 11, 23)),
    "phase": subset(["vision", "prefill", "decode"]),
    "device": subset(["cpu", "cuda"]),
    "capability": numbers(tuple(CAPABILITIES)),
    "dtype": subset(["bf16", "float16", "fp32", "float64"]),
    "head_dim": numbers((32, 64, 80, 128, 256)),
    "q_length": numbers(),
    "kv_length": numbers(),
    "batch": numbers((1, 2, 8)),
    "mask": subset(["none", "causal", "padding", "other"]),
    "training": st.booleans(),
    "packages": st.dictionaries(
        st.sampled_from(["torch", "flash_attn"]),
        st.sampled_from(["present", "absent", ">=2.4", "<2.6,>=2.1", "2.5", "!=2.5.1"]),
        min_size=1,
    ),
    "environment": st.dictionaries(
        st.sampled_from(["RANK", "MODE"]),
        st.sampled_from(["present", "absent", "0", "train*", "*"]),
        min_size=1,
    ),
}


@st.composite
def rules(draw):
    names = draw(st.lists(st.sampled_from(list(CONDITIONS)), min_size=1, max_size=3, unique=True))
    when = {name: draw(CONDITIONS[name]) for name in names}
    use = draw(st.sampled_from(["standard", "math", "no-flash", "auto", "reference", "blockwise"]))
    return {"when": when, "use": use}


def policies():
    return st.fixed_dictionaries(
        {
            "attn": st.sampled_from(["auto", "standard", "math"]),
            "rules": st.lists(rules(), min_size=1, max_size=6),
        }
    )


@st.composite
def calls(draw):
    """The facts of one call, as the interpreter wants them."""
    path, role, layer = draw(st.sampled_from(PATHS))
    device = draw(st.sampled_from(["cpu", "cuda"]))
    rows = draw(st.sampled_from(LENGTHS))
    vision = role in ("vision_tower", "projector")
    capability = tuple(map(int, draw(st.sampled_from(CAPABILITIES)).split(".")))
    versions = st.sampled_from(["2.1.0", "2.4", "2.5.1", "2.9.1"])
    return {
        "site": path, "role": role, "layers": layer,
        "phase": "vision" if vision else "decode" if rows == 1 else "prefill",
        "device": device, "capability": capability if device == "cuda" else None,
        "dtype": draw(st.sampled_from(["bfloat16", "float16", "float32", "float64"])),
        "head_dim": draw(st.sampled_from([32, 64, 80, 128])),
        "q_length": rows, "kv_length": draw(st.sampled_from(LENGTHS)),
        "batch": draw(st.sampled_from([1, 2, 8])),
        "mask": draw(st.sampled_from(["none", "causal", "padding", "other"])),
        "training": draw(st.booleans()),
        "packages": draw(st.dictionaries(st.sampled_from(["torch", "flash_attn"]), versions)),
        "environment": draw(
            st.dictionaries(
                st.sampled_from(["RANK", "MODE"]), st.sampled_from(["0", "1", "train", "training"])
            )
        ),
    }  # fmt: skip
