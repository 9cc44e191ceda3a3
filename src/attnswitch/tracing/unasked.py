"""What decides where nobody asked attnswitch: the project's setting, PyTorch's toggles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attnswitch.backends.catalogue import FASTEST_FIRST, decide
from attnswitch.environment import absent_packages
from attnswitch.types import Circumstances, Refused

# transformers takes it wherever a model supports it and nobody wrote anything else.
_DEFAULT = "sdpa"
# The toggles of PyTorch's SDPA, by the backend that each lets in.
_TOGGLES = {"flash": "flash_sdp", "efficient": "mem_efficient_sdp", "math": "math_sdp"}


@dataclass(frozen=True)
class Unasked:
    """What was found at a call: the `name` in the config that the module reads, the `device` (type
    and compute capability) of its tensors, and the SDPA kernels whose toggle was off."""

    name: str | None
    device: str
    capability: tuple[int, int] | None
    switched_off: tuple[str, ...]

    @classmethod
    def at(cls, module: Any, tensor: Any) -> Unasked:
        """What decides for a module that attends from `tensor` (None: unknown) now."""
        import torch

        name = getattr(getattr(module, "config", None), "_attn_implementation", None)
        device = tensor.device if tensor is not None else torch.device("cpu")
        capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        off = tuple(b for b, word in _TOGGLES.items()
                    if not getattr(torch.backends.cuda, f"{word}_enabled")())  # fmt: skip
        return cls(name, device.type, capability, off)

    @property
    def source(self) -> str:
        """Where the setting stands; `from_pretrained` writes its keyword into the config."""
        if self.name is None:
            return "default: the module has no setting"
        default = ", transformers' default" if self.name == _DEFAULT else ""
        return f"the model's config: attn_implementation={self.name!r}{default}"

    def refusals(
        self, ran: str | None, dtype: str | None, head_dim: int | None, masked: bool | None
    ) -> list[dict[str, Any]]:
        """[{backend, reasons}] for each backend that is faster than the one that `ran`."""
        if ran not in FASTEST_FIRST:
            return []
        call = Circumstances(
            device=self.device, dtype=dtype, capability=self.capability, head_dim=head_dim,
            masked=masked, has_eager=True,
        )  # fmt: skip
        missing = absent_packages()
        found = []
        for name in FASTEST_FIRST[: FASTEST_FIRST.index(ran)]:
            if name == "blockwise":
                continue  # attnswitch's own: nobody runs it without asking
            decision = decide(name, call, missing)
            reasons = [self._projects_own(name, ran)]
            if name in self.switched_off:
                reasons.append(f"torch.backends.cuda.enable_{_TOGGLES[name]}(False) holds")
            if isinstance(decision, Refused):
                reasons += decision.reasons
            reasons = [reason for reason in reasons if reason]
            found.append({"backend": name, "reasons": reasons or ["PyTorch's SDPA passed it over"]})
        return found

    def _projects_own(self, name: str, ran: str) -> str:
        """Why the project's code does not even come to `name`."""
        asks = f"the model's config asks for {self.name!r}"
        if ran == "eager":
            return asks if self.name is not None else "the module does its own arithmetic"
        if name == "flash_attn":
            return asks if self.name is not None else "the module calls PyTorch's SDPA"
        return ""
