"""Plots as files, and figures without pyplot."""

from __future__ import annotations

import pytest
from PIL import Image
from sample_records import comparison

from attnswitch.errors import InputError
from attnswitch.report.figures import svg_text
from attnswitch.report.palette import DARK, LIGHT
from attnswitch.report.plot_files import save_plot
from attnswitch.report.plots import local_error_plots, memory_plot, ratio_plot, time_plot


def test_a_plot_is_saved_as_png_and_as_svg(tmp_path):
    figure = time_plot(comparison(), "prefill", DARK)
    assert figure is not None
    with Image.open(save_plot(figure, tmp_path / "time.png", DARK.paper)) as picture:
        assert picture.width > 1000
        assert picture.convert("RGB").getpixel((2, 2)) == (0x14, 0x16, 0x1A)
    saved = save_plot(figure, tmp_path / "time.SVG").read_text(encoding="utf-8")
    assert saved.startswith("<?xml")
    assert DARK.flash in saved
    assert LIGHT.flash not in saved


def test_another_file_type_is_refused(tmp_path):
    figure = memory_plot(comparison())
    assert figure is not None
    with pytest.raises(InputError, match=r"must end in \.png or \.svg"):
        save_plot(figure, tmp_path / "memory.pdf")


def test_every_sample_is_a_dot():
    record = comparison()
    record["runs"][0]["samples"]["prefill"] *= 2
    figure = time_plot(record, "prefill")
    assert figure is not None
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [18, 9]


def test_bars_begin_at_zero():
    for figure in (time_plot(comparison(), "prefill"), memory_plot(comparison())):
        assert figure is not None
        assert figure.axes[0].get_xlim()[0] == 0


def test_a_failing_site_gets_a_cross():
    figures = local_error_plots(comparison(agrees=False))
    marks = {
        place: [line.get_marker() for line in figure.axes[0].lines].count("X")
        for place, figure in figures.items()
    }
    assert marks == {
        ("vision_tower", "vision"): 0,
        ("language_model", "prefill"): 1,
        ("language_model", "decode"): 0,
    }


def test_the_same_plot_gives_the_same_svg():
    one, other = ratio_plot(comparison()), ratio_plot(comparison())
    assert one is not None
    assert other is not None
    assert svg_text(one) == svg_text(other) == svg_text(one)


def test_nothing_to_draw_gives_no_plot():
    record = {"runs": [{"request": "flash"}]}
    assert time_plot(record, "prefill") is None
    assert memory_plot(record) is None
    assert ratio_plot(record) is None
    assert local_error_plots(record) == {}
