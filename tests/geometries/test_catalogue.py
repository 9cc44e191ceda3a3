"""The catalogue's numbers against the models that transformers builds from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnswitch.errors import ModelInputError
from attnswitch.geometries.building import build_model, configuration, smaller
from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.find import geometry, names
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.reading import read_config
from attnswitch.geometries.samples import sample
from attnswitch.sites import find_sites
from tests.models.checkpoints import write_model

# What the hub shows of each checkpoint, in billions of parameters.
BILLIONS = {
    "llava-1.5-7b": 7.06, "llava-1.5-13b": 13.4, "llava-v1.6-vicuna-7b": 7.06,
    "llava-v1.6-vicuna-13b": 13.4, "llava-v1.6-mistral-7b": 7.57, "llava-v1.6-34b": 34.8,
    "llava-onevision-0.5b": 0.894, "llava-onevision-7b": 8.03, "llava-onevision-72b": 73.2,
    "llava-onevision-0.5b-video": 0.894, "llava-onevision-7b-video": 8.03,
    "llava-next-video-7b": 7.06, "llava-next-video-34b": 34.8, "video-llava-7b": 7.37,
    "qwen2.5-vl-7b": 8.29,
}  # fmt: skip


def numbers_alone(found):
    return replace(found, name="", sources=(), note="", frames=None, config=None)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_numbers_are_those_of_the_configuration_and_of_the_model(name):
    listed = CATALOGUE[name]
    assert numbers_alone(read_config(configuration(listed), name)) == numbers_alone(listed)
    model = build_model(listed, device="meta")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters / 1e9 == pytest.approx(BILLIONS[name], rel=0.005)
    assert {str(p.dtype) for p in model.parameters()} == {f"torch.{listed.dtype}"}
    sites = [site for site, _ in find_sites(model).values()]
    of_tower = [s for s in sites if s.role == "vision_tower"]
    of_language = [s for s in sites if s.role == "language_model"]
    assert len(of_tower) == listed.vision.layers * listed.towers
    assert len(of_language) == listed.language.layers
    attention = model.get_submodule(of_language[0].path)
    assert attention.q_proj.weight.shape == (
        listed.language.heads * listed.language.head_dim, listed.language.width
    )  # fmt: skip
    assert attention.k_proj.out_features == listed.language.kv_heads * listed.language.head_dim
    mlp = model.get_submodule(of_language[0].path.replace("self_attn", "mlp"))
    matrices = [p for p in mlp.parameters() if p.dim() == 2]
    assert len(matrices) == listed.language.mlp_matrices
    assert matrices[0].numel() == listed.language.mlp_width * listed.language.width


def test_a_wrong_number_is_seen():
    listed = CATALOGUE["llava-1.5-7b"]
    wrong = replace(listed, language=replace(listed.language, kv_heads=8))
    assert numbers_alone(read_config(configuration(wrong), "")) != numbers_alone(listed)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_statement_has_a_source(name):
    assert all(source.startswith("https://") for source in CATALOGUE[name].sources)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, "built-in LLaVA"), ("demo", "built-in LLaVA"), ("LLaVA-1.5-7B", "llava-1.5-7b"),
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5-7b"), ("llava-v1.5-13b", "llava-1.5-13b"),
        ("llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "llava-onevision-0.5b"),
        ("llava-hf/LLaVA-NeXT-Video-7B-hf", "llava-next-video-7b"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl-7b"),
    ],
)  # fmt: skip
def test_names_are_found_as_people_write_them(name, shown):
    assert geometry(name).name == shown


def test_an_unknown_name_says_what_was_perhaps_meant():
    with pytest.raises(ModelInputError, match=r"did you mean 'llava-v1\.6-34b'"):
        geometry("llava-v1.6-43b")
    with pytest.raises(ModelInputError, match="there is no folder"):
        geometry("./nowhere")
    assert set(names()) == {"demo", *CATALOGUE}


def test_a_checkpoints_folder_is_a_geometry(tmp_path):
    found = geometry(str(write_model(tmp_path / "model", "llava_next")))
    assert (found.language.layers, found.language.kv_heads, found.vision.patches) == (2, 2, 4)
    assert sample(found).tiles == 2
    assert build_model(found).dtype == torch.float32


def test_a_family_whose_tokens_are_not_known_is_refused(tmp_path):
    folder = write_model(tmp_path / "model", "vipllava")
    with pytest.raises(ModelInputError, match="vipllava"):
        geometry(str(folder))


@pytest.mark.parametrize("name", ["llava-1.5-7b", "llava-v1.6-mistral-7b", "llava-onevision-0.5b"])
def test_inputs_fit_the_model(name):
    """A cut-down model with real weights runs on them, batch of 2."""
    small = smaller(CATALOGUE[name], 1)
    narrow = replace(
        small,
        language=replace(small.language, width=64, heads=2, kv_heads=2, head_dim=32, mlp_width=64),
        vision=replace(small.vision, width=64, heads=2, head_dim=32, mlp_width=64),
    )
    shown = sample(narrow, text_tokens=5)
    model = build_model(narrow, dtype="float32")
    with torch.no_grad():
        out = model(**make_inputs(narrow, shown, batch=2, dtype=torch.float32), logits_to_keep=1)
    assert out.logits.shape == (2, 1, narrow.language.vocabulary)
