"""What the profiler's operator names mean, for assertions."""

from __future__ import annotations

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
STANDARD = "attnswitch::blockwise"
EXPECTED = {"standard": STANDARD, "flash": FLASH}


def assert_only(operators: dict[str, list[str]], request: str, classes: list[str]) -> None:
    """Every attention class ran the request's operator, and none ran another one.

    `classes` holds the beginnings of names that must be among them ("CLIP", "Llama").

    Our standard operator's own softmax is seen inside it; a softmax without it is eager code.
    """
    wanted = EXPECTED[request]
    others = {FLASH, STANDARD, "aten::_scaled_dot_product_attention_math"} - {wanted}
    for start in classes:
        assert any(n.startswith(start) for n in operators), f"{start}* not in {sorted(operators)}"
    for name, ran in operators.items():
        if name != "elsewhere":
            assert wanted in ran, f"{name} ran {ran}, not {wanted}"
        assert not others & set(ran), f"{name} ran {ran}"
        if request == "flash":
            assert "aten::_softmax" not in ran or name == "elsewhere", f"{name} ran {ran}"
