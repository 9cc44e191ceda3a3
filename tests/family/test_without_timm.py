"""The three classes with a timm tower: without timm, an error that says what to install."""

from __future__ import annotations

import pytest
import torch

from attnswitch.errors import UnavailableError
from attnswitch.models.load import load_model

from . import roster
from .tiny import Tiny


@pytest.mark.parametrize("model_type", roster.NEED_TIMM)
def test_without_timm_the_error_says_what_to_install(model_type: str, tmp_path, monkeypatch):
    """Holds with timm installed too: there it is hidden."""
    from transformers.utils import import_utils

    message = "{0} requires the timm library but it was not found in your environment."
    backends = {**import_utils.BACKENDS_MAPPING, "timm": (lambda: False, message)}
    monkeypatch.setattr(import_utils, "BACKENDS_MAPPING", backends)
    tiny = next(t for t in roster.ALL if t.model_type == model_type)
    write_unloadable(tiny, tmp_path, monkeypatch)
    with pytest.raises(UnavailableError) as caught:
        load_model(str(tmp_path))
    assert "needs the package 'timm', which does not import here" in str(caught.value)
    assert "pip install timm torchvision" in str(caught.value)
    assert caught.value.exit_status == 3


def write_unloadable(tiny: Tiny, folder, monkeypatch) -> None:
    """A config and a weights file; the processor is not what is asked about here."""
    from safetensors.torch import save_file

    from attnswitch.models import load

    tiny.config().save_pretrained(folder)
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(load, "load_processor", lambda *_: (object(), ()))
