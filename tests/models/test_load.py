"""Loading: what works, and what every unusable checkpoint gets told."""

from __future__ import annotations

import json

import pytest
import torch

from attnswitch.errors import (
    ModelInputError,
    PolicyError,
    UnavailableError,
)
from attnswitch.models import hub
from attnswitch.models.load import load_model
from attnswitch.models.placement import dtype_name, torch_device

from .checkpoints import PROCESSORS, change_json, write_checkpoint, write_model, write_processor


def refusal(kind: type[Exception], name, **options) -> str:
    """The message of the error that loading raises; one line."""
    with pytest.raises(kind) as caught:
        load_model(str(name), **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("model_type", PROCESSORS)
def test_a_local_folder_loads(model_type, tmp_path):
    loaded = load_model(str(write_checkpoint(tmp_path, model_type)), dtype="bf16")
    assert loaded.model.config.model_type == model_type
    assert type(loaded.processor).__name__ == PROCESSORS[model_type]
    assert not loaded.model.training and loaded.model.dtype == torch.bfloat16
    assert (loaded.name, loaded.builtin, loaded.asked_in_config) == (str(tmp_path), False, None)


def test_the_checkpoints_own_dtype_is_kept(tmp_path):
    assert load_model(str(write_checkpoint(tmp_path))).model.dtype == torch.float32


@pytest.mark.parametrize(("value", "word"), [(False, "standard"), (True, "flash")])
def test_use_flash_attention_in_the_config_is_a_request(value, word, tmp_path):
    loaded = load_model(str(write_checkpoint(tmp_path, use_flash_attention=value)))
    assert loaded.asked_in_config.word == word
    assert loaded.asked_in_config.source == f"config.json of {tmp_path}"


def test_use_flash_attention_must_be_a_truth_value(tmp_path):
    text = refusal(PolicyError, write_checkpoint(tmp_path, use_flash_attention="no"))
    assert "use_flash_attention is true or false, not 'no'" in text


def test_a_config_that_asks_for_flash_attn_loads_and_says_so(tmp_path):
    write_checkpoint(tmp_path, _attn_implementation="flash_attention_2")
    loaded = load_model(str(tmp_path))
    assert loaded.notes == (
        "config.json asks for 'flash_attention_2'; loaded with 'sdpa' instead, then switched",
    )


def test_without_torchvision_the_video_half_is_left_out_and_said(tmp_path, monkeypatch):
    from attnswitch.models import processors

    monkeypatch.setattr(processors, "_has_torchvision", lambda: False)
    loaded = load_model(str(write_checkpoint(tmp_path, "llava_onevision")))
    assert loaded.processor.video_processor is None
    assert loaded.notes == (processors.VIDEO_NOTE,)
    assert "for videos: pip install torchvision" in loaded.notes[0]


def test_a_folder_that_is_no_model(tmp_path):
    text = refusal(ModelInputError, tmp_path)
    assert text.startswith(f"{tmp_path} is a folder but no model: it has no config.json")


def test_a_folder_that_is_not_there(tmp_path):
    assert refusal(ModelInputError, tmp_path / "no") == f"there is no folder {tmp_path / 'no'}"


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "x").write_text("")
    assert "is a file; a model is a folder with a config.json" in refusal(
        ModelInputError, tmp_path / "x"
    )


def test_an_empty_name():
    assert "the model's name is empty" in refusal(ModelInputError, " ")


def test_a_config_without_a_model_type(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert "is no model that transformers can load" in refusal(ModelInputError, tmp_path)


def test_a_broken_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert f"{tmp_path} cannot be loaded" in refusal(ModelInputError, tmp_path)


def test_a_model_without_a_processor(tmp_path):
    text = refusal(ModelInputError, write_model(tmp_path))
    assert f"{tmp_path} has no processor that takes pictures" in text
    assert "save_pretrained(<folder>)" in text


def test_a_processor_without_weights(tmp_path):
    write_processor(write_model(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    assert f"{tmp_path} cannot be loaded" in refusal(ModelInputError, tmp_path)


def test_a_text_only_model(tmp_path):
    from transformers import LlamaConfig

    LlamaConfig().save_pretrained(tmp_path)
    text = refusal(ModelInputError, tmp_path)
    assert f"{tmp_path} is a text-only model" in text
    assert "model_type 'llama'" in text and "give one that takes pictures and text" in text


def test_a_vision_model_that_answers_nothing(tmp_path):
    from transformers import CLIPConfig

    CLIPConfig().save_pretrained(tmp_path)
    assert "does not answer questions about pictures" in refusal(ModelInputError, tmp_path)


def test_a_model_type_with_a_typo(tmp_path):
    change_json(write_checkpoint(tmp_path) / "config.json", model_type="llava_nxt")
    assert "no model_type 'llava_nxt' (did you mean 'llava_next'?)" in refusal(
        ModelInputError, tmp_path
    )


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llava_llama"},
        {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"]},
    ],
)
def test_the_llava_repositorys_own_format(config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = refusal(ModelInputError, tmp_path)
    assert "in the LLaVA repository's own format" in text and "llava-hf/" in text


def test_code_in_a_checkpoint_needs_permission(tmp_path):
    config = {"model_type": "my_llava", "auto_map": {"AutoConfig": "configuration.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "allow it with --trust-remote-code" in refusal(ModelInputError, tmp_path)


def test_a_hub_id_without_a_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = refusal(UnavailableError, "llava-hf/not-in-any-cache")
    assert text.startswith("llava-hf/not-in-any-cache is no local folder, and the hub cannot be")
    assert "HF_HUB_OFFLINE is set" in text and "give its folder" in text


def test_an_unreachable_hub_is_found_out_at_once(monkeypatch):
    def fail(*_):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub.socket, "create_connection", fail)
    assert "Name or service not known" in refusal(UnavailableError, "llava-hf/not-in-any-cache")


def test_a_repository_that_does_not_exist(monkeypatch, tmp_path):
    from attnswitch.models import load

    class RepositoryNotFoundError(Exception):
        pass

    def fail(*_):
        raise OSError("long story") from RepositoryNotFoundError()

    monkeypatch.setattr(load, "require_reachable", lambda _: None)
    monkeypatch.setattr(load, "raw_config", fail)
    assert "there is no model no/such on the hub" in refusal(ModelInputError, "no/such")


@pytest.mark.parametrize(
    ("word", "name"),
    [("bf16", "bfloat16"), ("bfloat16", "bfloat16"), ("FP16", "float16"), ("half", "float16"),
     ("torch.float32", "float32"), ("fp64", "float64")],
)  # fmt: skip
def test_dtypes_long_and_short(word, name):
    assert dtype_name(word) == name


def test_an_unknown_dtype():
    text = refusal(ModelInputError, "x", dtype="bfloat61")
    assert "unknown dtype 'bfloat61' (did you mean 'bfloat16'?)" in text


def test_an_unknown_device():
    text = refusal(ModelInputError, "x", device="cudo")
    assert "unknown device 'cudo' (did you mean 'cuda'?)" in text


def test_a_device_that_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    text = refusal(UnavailableError, "x", device="cuda:1")
    assert "the device 'cuda:1' cannot be used: this PyTorch" in text
    assert "is built without CUDA" in text and "'cpu' works everywhere" in text


def test_a_device_number_that_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UnavailableError, match="there are 1 of them, numbered from 0"):
        torch_device("cuda:3")
    assert torch_device("cuda") == torch.device("cuda")
