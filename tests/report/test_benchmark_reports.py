"""Reports of benchmarks: what they say, and that no text of a record can break out of them."""

from __future__ import annotations

import copy
import html
import re

import pytest
from PIL import Image
from rich.console import Console
from sample_benchmarks import LENGTHS, benchmark, with_text
from test_comparison_page import Outline

from attnswitch.errors import InputError
from attnswitch.policy.files import request_from_mapping
from attnswitch.report import benchmark_plots as plots
from attnswitch.report.benchmark_markdown import benchmark_markdown, write_markdown
from attnswitch.report.benchmark_page import benchmark_page, save_plots, write_benchmark_page
from attnswitch.report.benchmark_panels import panels
from attnswitch.report.benchmark_text import benchmark_text
from attnswitch.report.break_even import break_even
from attnswitch.report.palette import DARK, LIGHT
from attnswitch.report.suggested_policy import suggest

NASTY = [
    """'"><script>alert(1)</script><img src=x onerror="alert(1)">&amp; </table></section>""",
    "two\nlines\r\nand\ttabs\x00\x1b[31m\x85\u2028]]>",
    "x" * 10_000,
    "\u202eמימין לשמאל\u202c مرحبا \u2067x",
    "emoji \U0001f600 é | a | `b` **c** [d](javascript:alert(1)) $x^2$ {{ 7 * 7 }} {% raw %}",
    "\\n %s \\url{x} # heading",
    "",
]


def terminal(record, width: int = 130) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    benchmark_text(record, console)
    return console.export_text()


@pytest.fixture(scope="module")
def record():
    return benchmark(("llava-1.5-7b", "llava-v1.6-34b"))


@pytest.fixture(scope="module")
def page(record) -> str:
    return benchmark_page(record)


def test_the_finding_is_the_heading(page):
    sentence = (
        "In prefill of llava-1.5-7b, attention alone, bfloat16, standard takes 1.44× (1.41–1.47) "
        "the time of flash at 4,096 tokens and eager takes 3.00× (2.94–3.06) at 2,048 tokens."
    )
    assert f"<h1>{sentence}</h1>" in page


def test_every_number_and_every_plot_is_on_the_page(page, record):
    outline = Outline(page)
    # For each subject bars, and for each of two phases time, memory and ratio.
    assert len(outline.named("svg")) == 2 * (1 + 2 * 3)
    assert outline.text.count("not run: does not fit into memory") == 4
    assert outline.text.count("no difference beyond the noise") == page.count(
        "no difference beyond the noise"
    )
    for length in LENGTHS:
        assert outline.text.count(f"{length:,}") >= 4
    assert "Standard becomes slower than flash at about" in outline.text
    assert "/project at aaaaaaaaaaaa, changed since" in outline.text
    ids = [a["id"] for _, a in outline.tags if a.get("id")]
    assert len(ids) == len(set(ids))


def test_nothing_is_fetched_and_nothing_is_run(page):
    outline = Outline(page)
    assert not re.search(r"https?:|//[a-z]+\.", page)
    assert not outline.named("script")
    for attribute in ("src", "href", "srcset", "action", "data"):
        targets = [a[attribute] or "" for _, a in outline.tags if attribute in a]
        assert all(target.startswith(("data:", "#")) for target in targets)


def test_light_dark_and_print(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "var(--flash)" in page
    assert "var(--standard)" in page


def test_the_same_record_gives_the_same_page(record, page):
    assert benchmark_page(copy.deepcopy(record)) == page


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_no_text_breaks_out(text, tmp_path):
    record = with_text(benchmark(phases=("prefill",)), text)
    record["schema"] = "attnswitch.benchmark/1"
    page = benchmark_page(record)
    outline = Outline(page)
    clean = benchmark(phases=("prefill",))
    names = {name for name, _ in Outline(benchmark_page(clean)).tags}
    assert {name for name, _ in outline.tags} <= names
    assert not [n for _, attributes in outline.tags for n in attributes if n.startswith("on")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x80-\x9f\u202a-\u202e\u2066-\u2069]", page)
    shown = " ".join(terminal(record).split())
    assert "\x1b" not in shown
    markdown = benchmark_markdown(record)
    assert not re.search(r"(?<!\\)<(script|img)", markdown)
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", markdown)
    tables = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {8}
    write_benchmark_page(record, tmp_path / "page.html")
    assert save_plots(record, tmp_path / "plots")


def test_the_check_of_escaping_can_fail():
    record = with_text(benchmark(phases=("prefill",)), NASTY[0])
    record["schema"] = "attnswitch.benchmark/1"
    raw = html.unescape(benchmark_page(record))
    with pytest.raises(AssertionError):
        assert not Outline(raw).named("script")


def test_the_terminal_fits_its_width(record):
    for width in (80, 110, 130):
        lines = terminal(record, width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)
    assert "1.44× (1.41–1.47)" in terminal(record, 80)


def test_markdown_shows_plots_beside_it(record, tmp_path):
    saved = save_plots(record, tmp_path / "plots")
    write_markdown(record, tmp_path / "page.md", {"time": next(iter(saved.values()))})
    text = (tmp_path / "page.md").read_text()
    assert re.search(r"!\[time\]\(plots/[a-z0-9.-]+\.svg\)", text)
    assert "| tokens | request | ran | time |" in text


def test_plots_are_saved_as_svg_and_png(record, tmp_path):
    saved = save_plots(record, tmp_path / "plots")
    assert len(saved) == 14
    assert LIGHT.flash in (tmp_path / "plots" / "main.svg").read_text()
    assert DARK.flash in (tmp_path / "plots" / "main-dark.svg").read_text()
    for path in saved.values():
        assert path.read_text().startswith("<?xml")
        with Image.open(path.with_suffix(".png")) as picture:
            assert picture.width > 700


def test_axes_are_logarithmic_and_every_point_is_drawn(record):
    panel = panels(record)[0]
    for draw in (plots.time_plot, plots.memory_plot):
        axes = draw(panel).axes[0]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        marks = [line for line in axes.lines if line.get_marker() not in ("None", None)]
        assert len(marks) == 5 + 5 + 4
        names = {text.get_text() for text in axes.texts}
        assert names == {"flash", "standard", "eager"}
    ratio = plots.ratio_plot(panel).axes[0]
    assert any(list(line.get_ydata()) == [1, 1] for line in ratio.lines)


def test_what_is_not_ranked_is_hollow(record):
    changed = copy.deepcopy(record)
    for one in changed["ratios"]:
        one["ranked"], one["because"] = False, "both ran the same kernels"
    axes = plots.time_plot(panels(changed)[0]).axes[0]
    styles = {line.get_fillstyle() for line in axes.lines if line.get_marker() == "s"}
    assert styles == {"none"}
    assert "not ranked: both ran the same kernels" in benchmark_page(changed)
    assert suggest(panels(changed)) is None
    assert "Nothing was measured that can be ranked." in benchmark_page(changed)


def test_a_single_length_has_bars_and_no_lines(record):
    rows = [row for row in record["rows"] if row["tokens"] == 512]
    panel = panels({**record, "rows": rows})[0]
    assert plots.time_plot(panel) is None
    assert plots.phase_plot([panel]) is not None


def test_an_empty_record_is_said_to_be_empty():
    page = benchmark_page({"schema": "attnswitch.benchmark/1", "rows": [], "ratios": []})
    assert "No row was recorded." in page
    with pytest.raises(InputError, match=r"expected a record of schema 'attnswitch.benchmark/1'"):
        benchmark_page({"schema": "attnswitch.trace/1"})


def test_the_newest_of_several_rows_is_shown(record):
    again = copy.deepcopy(record)
    for row in again["rows"]:
        row["run"] = "20260202T000000-00000000"
        if row["seconds"]:
            row["seconds"] = dict.fromkeys(row["seconds"], 12.5)
    runs = [*record["runs"], {"id": "20260202T000000-00000000", "machine": "m"}]
    both = {**record, "runs": runs, "rows": [*again["rows"], *record["rows"]]}
    found = panels(both)[0]
    assert {point.seconds[1] for one in found.series for point in one.timed()} == {12.5}
    assert sum(len(one.points) for one in found.series) == 15


def test_other_machines_are_panels_of_their_own(record):
    other = copy.deepcopy(record)
    for row in other["rows"]:
        row["run"] = "20260202T000000-00000000"
    runs = [*record["runs"], {"id": "20260202T000000-00000000", "machine": "other"}]
    both = {**record, "runs": runs, "rows": [*record["rows"], *other["rows"]]}
    assert {panel.machine for panel in panels(both)} == {"m", "other"}


# Break-even and the policy -----------------------------------------------------------------------


def with_ratios(values: dict[int, tuple[float, float, float]]):
    """The prefill panel of one subject whose `standard` has these ratios (low, median, high)."""
    record = benchmark(phases=("prefill",))
    for one in record["ratios"]:
        low, median, high = values.get(one["tokens"], (1, 1, 1))
        if one["candidate"] == "standard":
            one["seconds"] = {"low": low, "median": median, "high": high}
    panel = panels(record)[0]
    series = next(one for one in panel.series if one.request == "standard")
    return panel, series


def test_the_crossing_lies_between_the_lengths_that_decide():
    panel, series = with_ratios({
        256: (0.7, 0.8, 0.9), 512: (0.85, 0.95, 1.05), 1024: (0.95, 1.05, 1.15),
        2048: (1.1, 1.2, 1.3), 4096: (1.3, 1.4, 1.5),
    })  # fmt: skip
    found = break_even(panel, series)
    assert found.between == (256, 2048)
    assert 650 < found.length < 800
    assert found.sentence("tokens").startswith("standard becomes slower than flash at about")


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        ((1.1, 1.2, 1.3), "standard is slower than flash at every length measured"),
        ((0.7, 0.8, 0.9), "standard is faster than flash at every length measured"),
        (
            (0.9, 1.0, 1.1),
            "standard is as fast as flash at every length measured, within the noise",
        ),
    ],
)
def test_without_a_crossing(ratio, words):
    panel, series = with_ratios(dict.fromkeys(LENGTHS, ratio))
    found = break_even(panel, series)
    assert found.length is None
    assert found.sentence("tokens") == words


def test_lengths_that_tell_nothing_are_not_spoken_for():
    panel, series = with_ratios({256: (0.7, 0.8, 0.9), 4096: (0.8, 0.85, 0.9)})
    assert break_even(panel, series).sentence("tokens") == (
        "standard is faster than flash at 2 of 5 lengths; the noise leaves the others open"
    )


def test_the_policy_is_one_that_attnswitch_reads():
    import yaml

    told = suggest(panels(benchmark(phases=("prefill", "decode"))))
    read = yaml.safe_load(told.yaml)
    assert read["attn"] == "flash"
    assert read["rules"][0]["when"] == {"phase": "prefill", "kv_length": "<=512"}
    assert read["rules"][0]["use"] == "standard"
    request_from_mapping(read, "the suggestion")


def test_a_gain_within_the_noise_is_no_rule():
    panel, _ = with_ratios(dict.fromkeys(LENGTHS, (0.9, 0.98, 1.05)))
    assert suggest([panel]).yaml == "attn: flash\n"


def test_a_request_that_is_no_word_is_no_rule():
    record = benchmark(phases=("prefill",))
    for row in record["rows"]:
        row["request"] = {"standard": "./my policy.yaml"}.get(row["request"], row["request"])
    for one in record["ratios"]:
        one["candidate"] = {"standard": "./my policy.yaml"}.get(one["candidate"], one["candidate"])
    assert suggest(panels(record)).yaml == "attn: flash\n"
