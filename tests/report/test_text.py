"""What the terminal shows of a comparison and of a trace."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from sample_records import (
    BLOCKWISE_OP,
    FLASH_OP,
    comparison,
    hostile,
    receipts,
    trace,
)

from attnswitch.errors import InputError
from attnswitch.report.text import comparison_text, trace_text


def printed(record: dict, width: int = 80, terminal: bool = False) -> str:
    held = io.StringIO()
    comparison_text(record, Console(file=held, width=width, force_terminal=terminal))
    return held.getvalue()


def test_the_first_lines_say_whether_flash_attention_is_off():
    on, off = printed(comparison()).splitlines()[:2]
    assert on == "FlashAttention is ON  in flash     at 10 of 10 sites"
    assert off == "FlashAttention is OFF in standard  at 0 of 10 sites, its operators barred"


def test_off_is_not_claimed_where_sites_were_not_observed():
    record = comparison()
    record["runs"][1]["receipts"][3] |= {"executed": None, "evidence": "inferred"}
    assert "FlashAttention is NOT KNOWN in standard" in printed(record)


def test_one_flash_site_is_seen_among_many():
    record = comparison()
    record["runs"][1]["receipts"][7] |= {"family": "flash", "evidence": "op"}
    assert "FlashAttention is PARTLY ON in standard  at 1 of 10 sites" in printed(record)


def test_kernels_are_counted_with_evidence_on_one_line_where_there_is_room():
    lines = printed(comparison(), width=140).splitlines()
    assert f"  language_model · prefill  flash ×6  {FLASH_OP}  (seen by the profiler)" in lines
    assert any("decode   blockwise ×132 at 6 sites  attnswitch::blockwise" in x for x in lines)


def test_lines_fit_80_columns_and_no_kernel_name_is_split():
    lines = printed(comparison(different=True)).splitlines()
    assert max(map(len, lines)) <= 80
    assert f"    {FLASH_OP}  (seen by the profiler)" in lines
    assert all(line == line.rstrip() for line in lines)


def test_costs_have_units_ratios_and_no_ranking_within_the_noise():
    text = printed(comparison())
    assert "prefill 412 ms · 18 ms per decoded token · peak memory 812 MiB" in text
    assert "Prefill            1.14× (1.11–1.17)   14 % slower" in text
    assert "Per decoded token  1.01× (0.98–1.05)   no difference beyond the noise" in text


def test_runs_of_the_same_kernels_are_not_ranked():
    record = comparison()
    record["runs"][1]["receipts"] = record["runs"][0]["receipts"]
    assert "slower" not in printed(record)
    assert "same kernels: not ranked" in printed(record)


def test_the_verdict_and_the_tokens_stand_beside_each_other():
    text = printed(comparison())
    assert "Verdict  AGREES  The candidate's error" in text
    assert "Tokens   The same, all 20 tokens." in text
    assert "Checks   3 of 3 checks and 16 of 16 local errors within the allowed error." in text


def test_a_near_tie_and_a_flip_are_told_apart():
    near = printed(comparison(different=True))
    assert "First difference at token 8: “blue” became “yellow”. A near tie" in near
    flip = printed(comparison(different=True, agrees=False))
    assert "DOES NOT AGREE" in flip
    assert "A flip" in flip
    assert "logits of standard fails: error 3.1e-1, allowed 4.7e-2" in flip


def test_what_ran_against_the_plan_is_said():
    record = comparison()
    for receipt in record["runs"][0]["receipts"]:
        receipt["planned"] = "flash_attn"
    assert "planned was flash_attn" in printed(record)


def test_markup_and_control_characters_of_models_are_shown_not_obeyed():
    record = hostile("[bold red]x[/] \x1b[2J \u202e ")
    plain, coloured = printed(record), printed(record, terminal=True)
    assert "[bold red]x[/] ␛[2J \\u202e" in plain
    assert "\x1b" not in plain
    assert "\x1b[2J" not in coloured
    assert "\x1b[1;32m" not in plain


@pytest.mark.parametrize("text", ["x" * 10_000, "שלום ", "\ud800", "a\nb\r\nc"])
def test_any_text_can_be_printed(text: str):
    printed(hostile(text)).encode()


def test_the_least_a_comparison_must_hold_is_enough():
    record = {"schema": "attnswitch.comparison/1", "runs": [{"request": "flash", "receipts": []}]}
    text = printed(record)
    assert "no attention call was recorded" in text
    assert "NOT JUDGED" in text


def test_another_record_is_refused():
    with pytest.raises(InputError, match=r"expected a record of schema 'attnswitch\.comparison/1'"):
        printed({"schema": "attnswitch.trace/1"})


def test_a_trace_gathers_layers_into_ranges():
    record = trace(receipts("flash", "flash", FLASH_OP, "op", 24, 32))
    lines = trace_text(record).splitlines()
    assert lines[0] == "FlashAttention is on: at 56 of 56 sites."
    flash = f"{FLASH_OP}  (seen by the profiler)"
    assert f"  vision_tower.encoder.layers.0–23: flash ×24  {flash}" in lines
    assert f"  language_model.layers.0–31: flash ×32  {flash}" in lines
    assert f"  language_model.layers.0–31: flash ×704  {flash}" in lines


def test_a_trace_with_a_mixed_policy_names_the_layers_of_each():
    flash = receipts("flash", "flash", FLASH_OP, "op", 0, 8)
    standard = receipts("standard", "blockwise", BLOCKWISE_OP, "guarded", 0, 8)
    mixed = [one if index in (2, 3, 4, 7) else other
             for index, (one, other) in enumerate(zip(flash, standard, strict=True))]  # fmt: skip
    text = trace_text(trace(mixed))
    assert "language_model.layers.2–4,7: flash ×4" in text
    assert "language_model.layers.0–1,5–6: blockwise ×4" in text
    assert text.startswith("FlashAttention is partly on: at 4 of 8 sites.")


def test_a_trace_tells_who_asked_and_what_was_refused():
    listed = receipts("standard", "blockwise", BLOCKWISE_OP, "guarded", 1, 2)
    for one in listed:
        one |= {"source": "--attn (policy.yaml:2)", "dtype": "bfloat16", "mask": "causal",
                "shapes": [[[1, 14, 9, 64], [1, 2, 9, 64], [1, 2, 9, 64]]],
                "refused": [{"backend": "flash", "reasons": ["'standard' was asked for"]}],
        }  # fmt: skip
    lines = trace_text(trace(listed)).splitlines()
    assert lines[0].startswith("FlashAttention is off:")
    assert lines[1] == "standard was asked for by --attn (policy.yaml:2)"
    assert "    bfloat16, query 1×14×9×64, key 1×2×9×64, mask causal" in lines
    assert lines[-2:] == [
        "faster backends, and why they were refused",
        "  flash: 'standard' was asked for",
    ]


def test_a_trace_tells_two_settings_apart():
    listed = receipts("flash", "flash", FLASH_OP, "op", 1, 1)
    for one in listed:
        tower = one["role"] == "vision_tower"
        one |= {"requested": "flash" if tower else None, "source": "apply()" if tower else "config"}
    lines = trace_text(trace(listed)).splitlines()
    assert lines[1] == "flash was asked for by apply()  (vision_tower)"
    assert lines[2] == "nothing was asked for; config  (language_model)"
