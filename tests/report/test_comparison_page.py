"""The comparison page: what it says, and that no text of a record can break out of it."""

from __future__ import annotations

import copy
import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from sample_records import FLASH_OP, comparison, hostile

from attnswitch.errors import InputError, MissingExtraError
from attnswitch.report import templating
from attnswitch.report.atomic_file import write_atomically
from attnswitch.report.comparison_page import comparison_page, write_page
from attnswitch.report.local_errors import local_errors
from attnswitch.report.pictures import shown_pictures

VOID = {"meta", "link", "img", "br"}


class Outline(HTMLParser):
    """Checks that tags are balanced and keeps tags, attributes and shown text."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return comparison_page(comparison(different=True))


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_the_finding_is_the_heading_and_the_title(page: str):
    sentence = (
        "FlashAttention is on in the flash run and off in the standard run; the outputs agree."
    )
    assert f"<h1>{sentence}</h1>" in page
    assert f"<title>{sentence}</title>" in page


def test_nothing_is_fetched_and_nothing_is_run(page: str, outline: Outline):
    assert not re.search(r"https?:|//[a-z]+\.", page)
    assert not outline.named("script")
    assert not [name for _, attributes in outline.tags for name in attributes if name[:2] == "on"]
    for attribute in ("src", "href", "srcset", "action", "data"):
        targets = [a[attribute] or "" for _, a in outline.tags if attribute in a]
        assert all(target.startswith(("data:", "#")) for target in targets)
    policy = [a for a in outline.named("meta") if a.get("http-equiv")]
    assert (policy[0]["content"] or "").startswith("default-src 'none'")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_every_site_has_a_cell_for_every_run(outline: Outline):
    cells = [a for a in outline.named("span") if "cell" in (a.get("class") or "") and "title" in a]
    assert len(cells) == 2 * (4 + 6 + 6)
    titles = [str(cell["title"]) for cell in cells]
    for layer in range(6):
        told = [t for t in titles if t.startswith(f"model.language_model.layers.{layer}.self_attn")]
        assert len(told) == 4
    assert sum(FLASH_OP in title for title in titles) == 16
    families = {str(cell["class"]).split()[1] for cell in cells}
    assert families == {"flash", "standard"}


def test_cells_are_told_apart_without_colour(page: str):
    letters = dict(re.findall(r'<span class="cell (\w+)" title="[^"]*">(.)</span>', page))
    assert letters == {"flash": "F", "standard": "S"}


def test_the_first_difference_is_marked_in_both_answers(page: str):
    assert "A red circle at the top left, a <mark>blue</mark>" in page
    assert "A red circle at the top left, a <mark>yellow</mark>" in page
    assert "A near tie" in html.unescape(page)


def test_the_costs_are_plotted_and_told(outline: Outline):
    labels = [a.get("aria-label") for a in outline.named("svg")]
    assert labels[:3] == ["Prefill", "Per decoded token", "Peak memory"]
    assert labels[3] == "standard against flash"
    assert labels[4:] == [
        "vision_tower vision",
        "language_model prefill",
        "language_model decode",
    ]
    for said in ("412 ms", "812 MiB", "14 % slower", "2.13.0+cpu", "float64", "max new tokens"):
        assert said in outline.text.replace("\u00a0", " ")


def test_ids_are_unique_and_references_resolve(page: str, outline: Outline):
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_plots_follow_light_and_dark(page: str):
    plots = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--ink)" in plots
    assert not re.search(r"#[0-9a-f]{6}", plots)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_same_record_gives_the_same_page_and_stays_as_it_was(page: str):
    record = comparison(different=True)
    before = copy.deepcopy(record)
    assert comparison_page(record) == page
    assert record == before


def test_another_process_gives_the_same_page_without_pyplot_or_torch(page: str, tmp_path):
    code = (
        "import sys; import attnswitch.report.text;"
        "assert not {'matplotlib', 'jinja2', 'torch'} & set(sys.modules);"
        "from sample_records import comparison;"
        "from attnswitch.report.comparison_page import write_page;"
        "write_page(comparison(different=True), sys.argv[1]);"
        "assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    written = tmp_path / "other.html"
    subprocess.run([sys.executable, "-c", code, str(written)], check=True, env=environment)
    assert written.read_text(encoding="utf-8") == page


HOSTILE = {
    "html": "</style></title><script>alert('x')</script><img src=x onerror=\"y\">",
    "quotes and templates": "\"'`' onmouseover=alert(1) x=\" {{ 7*7 }}{% raw %}{# #}",
    "controls and newlines": "\x00\x1b[31m\x07\x7fone\ntwo\r\nthree\u2028four",
    "right-to-left": "\u202eשלום\u2067 مرحبا",
    "math": "$\\undefined^_$",
    "surrogate": "\ud83d alone",
    "long": "x" * 10_000,
    "long words": "Lorem <b> " * 1_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_text_in_every_field_stays_text(text: str):
    page = comparison_page(hostile(text))
    page.encode("utf-8")
    outline = Outline(page)
    assert not outline.named("script")
    assert [a["src"][:5] for a in outline.named("img")] == ["data:"]  # type: ignore[index]
    assert not [name for _, a in outline.tags for name in a if name.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page)


def test_hostile_text_is_shown_as_it_is():
    text = HOSTILE["html"]
    assert text in Outline(comparison_page(hostile(text))).text


@pytest.mark.parametrize(
    "data_uri",
    [
        "https://example.org/a.png",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml;base64,AAAA",
        'data:image/png;base64,AAAA" onerror="x',
        None,
    ],
)
def test_only_raster_pictures_inside_the_record_are_shown(data_uri: str | None):
    shown = shown_pictures({"images": [{"name": "x", "data_uri": data_uri}]})
    assert shown == [{"name": "x", "data_uri": ""}]


def test_a_picture_that_cannot_be_shown_is_missed():
    record = comparison(1, 1) | {"images": [{"name": "a.png", "data_uri": "file:///a.png"}]}
    outline = Outline(comparison_page(record))
    assert not outline.named("img")
    assert "This picture is not in the record." in outline.text


def test_the_least_a_comparison_must_hold_is_enough():
    run = {"request": "flash", "answer": "", "tokens": [], "receipts": [{"phase": "prefill"}]}
    record = {"schema": "attnswitch.comparison/1", "runs": [run], "verdict": {}}
    page = comparison_page(record)
    assert "not proven off in the flash run; the outputs were not judged" in page


def test_missing_and_impossible_numbers_are_left_out():
    record = comparison()
    record["ratios"] = None
    record["runs"][0]["samples"]["prefill"] = [float("nan"), 0.4]
    record["runs"][1]["seconds"]["prefill"] = None
    record["runs"][1]["peak_bytes"] = None
    record["verdict"]["sites"][0]["local"]["error"] = float("inf")
    record["verdict"]["sites"][1]["local"]["error"] = 0.0
    page = comparison_page(record)
    assert "NaN" not in page
    assert "nan" not in re.findall(r'd="[^"]*nan', page)


def test_local_errors_may_be_plain_numbers():
    record = comparison()
    for site in record["verdict"]["sites"]:
        site["local"] |= {k: v["max"] for k, v in site["local"].items() if isinstance(v, dict)}
    assert local_errors(record) == local_errors(comparison())
    assert len(local_errors(record)[("vision_tower", "vision")]) == 4


def test_a_page_is_written_whole_and_over_an_old_one(tmp_path, page: str):
    target = tmp_path / "report.html"
    target.write_text("old")
    assert write_page(comparison(different=True), target) == target
    assert target.read_text(encoding="utf-8") == page
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(target, b"new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; create it first"):
        write_page(comparison(1, 1), tmp_path / "nowhere" / "report.html")
    with pytest.raises(InputError, match="it is a folder"):
        write_page(comparison(1, 1), tmp_path)


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_names_the_install_command(package: str, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    templating._environment.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"{package}.*attnswitch\[report\]"):
        comparison_page(comparison(1, 1))
    templating._environment.cache_clear()
