"""Load a LLaVA-family model: the built-in one, a local folder, or a hub id.

Everything that can be wrong with a checkpoint is one clear line: foreign exceptions are mapped in
`faults`, and what can be told from config.json is told before any weight is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnswitch.environment import require_torch
from attnswitch.errors import MissingExtraError, ModelInputError
from attnswitch.models import bars, faults
from attnswitch.models.hub import require_reachable
from attnswitch.models.placement import torch_device, torch_dtype
from attnswitch.models.processors import load_processor
from attnswitch.policy.files import request_from_mapping
from attnswitch.policy.requests import Request

BUILTIN = Path(__file__).with_name("demo")
BUILTIN_NAME = "built-in LLaVA"


@dataclass
class LoadedModel:
    """A model in eval mode with its processor.

    `asked_in_config` is the request that `use_flash_attention` in the checkpoint's config.json
    makes, or None. `notes` says what was done differently from what the checkpoint asks for.
    """

    model: Any
    processor: Any
    name: str
    builtin: bool = False
    asked_in_config: Request | None = None
    notes: tuple[str, ...] = ()


def load_model(
    name: str | None,
    *,
    dtype: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model that takes pictures and text, and its processor.

    Args:
        name: a local folder or a hub id; None is the built-in model.
        dtype: long or short ("bfloat16", "bf16"); None keeps the checkpoint's own.
        device: "cpu" (also None), "cuda", "cuda:1" ...
        trust_remote_code: let a checkpoint run its own Python code.

    Raises:
        ModelInputError: no such model, no model that takes pictures, or parts of it missing.
        UnavailableError: a package, a device or the network is missing here.
        PolicyError: `use_flash_attention` in config.json is neither true nor false.
    """
    require_torch()
    _require_transformers()
    wanted_dtype, wanted_device = torch_dtype(dtype), torch_device(device)
    where = str(BUILTIN) if name is None else folder_or_hub_id(name)
    shown = BUILTIN_NAME if name is None else name
    with faults.as_one_line(shown), bars.only_on_a_terminal():
        raw = raw_config(where, shown)
        asked = _asked_in_config(raw, shown)
        config = config_of(where, shown, raw, trust_remote_code)
        processor, notes = load_processor(where, shown, config, trust_remote_code)
        model, more = _model(where, config, raw, wanted_dtype, trust_remote_code)
        model = model.to(wanted_device).eval()
    return LoadedModel(model, processor, shown, name is None, asked, (*notes, *more))


def _require_transformers() -> None:
    try:
        import transformers  # noqa: F401  (the question is whether it imports)
    except ImportError as error:
        raise MissingExtraError("transformers", "models", "loading a model") from error


def folder_or_hub_id(name: str) -> str:
    """What transformers is to be given; complains early about paths that lead nowhere."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelInputError(
                f"{name} is a folder but no model: it has no config.json; give the folder that "
                "save_pretrained() wrote"
            )
        return str(path)
    if path.exists():
        raise ModelInputError(f"{name} is a file; a model is a folder with a config.json")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/"):
        raise ModelInputError(f"there is no folder {name}")
    if not name.strip():
        raise ModelInputError("the model's name is empty; give a folder or a hub id")
    require_reachable(name)
    return name


def raw_config(where: str, shown: str) -> dict[str, Any]:
    """config.json as it stands, before transformers interprets it."""
    from transformers import PretrainedConfig

    raw, _ = PretrainedConfig.get_config_dict(where)
    if not raw.get("model_type"):
        raise ModelInputError(
            f"{shown} is no model that transformers can load: "
            + ("its config.json has no model_type" if raw else "it has no config.json")
        )
    return raw


def _asked_in_config(raw: dict[str, Any], shown: str) -> Request | None:
    if "use_flash_attention" not in raw:
        return None
    policy = {"use_flash_attention": raw["use_flash_attention"]}
    return replace(request_from_mapping(policy, f"config.json of {shown}"), origin="checkpoint")


def config_of(where: str, shown: str, raw: dict[str, Any], trust_remote_code: bool) -> Any:
    """The configuration, of a class that takes pictures."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    kind = raw["model_type"]
    if kind in faults.ORIGINAL_FORMATS or _is_original_format(raw):
        raise ModelInputError(faults.original_format(shown, kind))
    own_code = trust_remote_code and "auto_map" in raw
    if not own_code:
        faults.check_model_type(shown, kind, "auto_map" in raw)
    config = AutoConfig.from_pretrained(where, trust_remote_code=trust_remote_code)
    if not own_code and type(config) not in AutoModelForImageTextToText._model_mapping:
        raise ModelInputError(faults.takes_no_pictures(shown, raw, config))
    return config


def _is_original_format(raw: dict[str, Any]) -> bool:
    """Checkpoints of haotian-liu/LLaVA v1.0 call themselves "llava" too, with other classes."""
    return any("LlavaLlama" in name for name in raw.get("architectures") or ())


def _model(
    where: str, config: Any, raw: dict[str, Any], dtype: Any, trust_remote_code: bool
) -> tuple[Any, tuple[str, ...]]:
    """The model, and a note where the attention that config.json names was not used to load it.

    What runs is decided by the switch afterwards, so a name that cannot be loaded here
    ("flash_attention_2" without flash_attn) is no reason to stop; it is said, not hidden.
    """
    from transformers import AutoModelForImageTextToText

    more: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    named = raw.get("_attn_implementation") or raw.get("attn_implementation")
    notes: tuple[str, ...] = ()
    if isinstance(named, str) and "flash" in named:
        more["attn_implementation"] = "sdpa"
        notes = (f"config.json asks for {named!r}; loaded with 'sdpa' instead, then switched",)
    model = AutoModelForImageTextToText.from_pretrained(where, config=config, **more)
    return model, notes
