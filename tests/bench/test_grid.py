"""The grid: each workload once, lengths as asked for, and what is impossible said in one line."""

from __future__ import annotations

import pytest

from attnswitch.bench import room
from attnswitch.bench.grid import Lengths, workloads
from attnswitch.bench.time_left import TimeLeft
from attnswitch.bench.workshop import Workshop
from attnswitch.errors import InputError, ModelInputError, UnavailableError
from attnswitch.geometries.find import geometry
from attnswitch.geometries.samples import sample
from tests.bench.tiny_workloads import requests, tiny


def grid(name: str, part: str = "attention", **more):
    lengths = more.pop("lengths", Lengths())
    phases = more.pop("phases", ["prefill"])
    return workloads(geometry(name), name, "geometry", part, phases=phases, lengths=lengths, **more)


def test_a_length_in_tokens_is_met_exactly():
    lengths = Lengths(tokens=(100, 600, 700, 2000, 3000, 16384))
    for name in ("llava-1.5-7b", "llava-v1.6-34b", "llava-onevision-0.5b", "qwen2.5-vl-7b"):
        found = grid(name, lengths=lengths)
        assert [one.tokens for one in found] == [100, 600, 700, 2000, 3000, 16384]
        for one in found:
            assert sample(geometry(name), **one.size).tokens == one.tokens


def test_pictures_fill_a_length_as_far_as_they_go():
    sizes = [one.size for one in grid("llava-v1.6-34b", lengths=Lengths(tokens=(100, 1800, 4000)))]
    assert sizes[0] == {"images": 0, "text_tokens": 100}
    assert sizes[1]["tiles"] == 3
    assert sizes[2]["tiles"] == 5


def test_the_same_vision_workload_is_measured_once():
    """Three lengths of text beside one picture are three prefills and one vision pass."""
    lengths = Lengths(tokens=(700, 800, 900))
    found = grid("llava-1.5-7b", phases=["vision", "prefill"], lengths=lengths)
    assert [(one.phase, one.tokens) for one in found] == [
        ("vision", 577), ("prefill", 700), ("prefill", 800), ("prefill", 900)
    ]  # fmt: skip


def test_tiles_frames_batches_and_dtypes():
    found = grid("llava-onevision-0.5b", phases=["vision"], lengths=Lengths(tiles=(1 + 1, 1 + 4)),
                 batches=(1, 2), dtypes=("float32", None))  # fmt: skip
    assert [(w.views, w.batch, w.dtype) for w in found] == [
        (v, b, d) for d in ("float32", "float16") for v in (2, 5) for b in (1, 2)
    ]
    (video,) = grid("llava-onevision-0.5b", lengths=Lengths(frames=(8,), text_tokens=10))
    assert video.size == {"frames": 8, "text_tokens": 10}
    assert video.tokens == 10 + 8 * 196 + 1


def test_without_a_length_it_is_the_geometrys_own():
    assert grid("video-llava-7b")[0].size == {"frames": 8, "text_tokens": 64}
    assert grid("llava-1.5-7b")[0].tokens == 576 + 64


def test_beyond_the_context_is_an_error_for_a_whole_model_only():
    lengths = Lengths(tokens=(8192,))
    assert grid("llava-1.5-7b", lengths=lengths)[0].tokens == 8192
    with pytest.raises(ModelInputError, match=r"8,192 tokens exceed the context .* 4,096"):
        grid("llava-1.5-7b", "whole", lengths=lengths)


def test_nothing_to_measure_is_an_error():
    with pytest.raises(InputError, match="no picture is given for the vision phase"):
        grid("llava-1.5-7b", phases=["vision"], lengths=Lengths(images=(0,)))


def test_a_geometry_that_takes_no_such_length():
    with pytest.raises(ModelInputError, match="takes no video"):
        grid("llava-1.5-7b", lengths=Lengths(frames=(4,)))


def test_the_time_left_follows_the_same_kind_of_work():
    cells = [tiny(tokens=n) for n in (100, 200)] + [tiny("decode", 100), tiny("decode", 200)]
    left = TimeLeft(cells)
    assert left.after(0) is None
    left.finished(cells[0], 10.0)
    after_one = left.after(1)
    assert after_one is not None
    assert after_one > 20.0, "twice the tokens, at least twice the time"
    left.finished(cells[1], 25.0)
    left.finished(cells[2], 1.0)
    assert left.after(3) == pytest.approx(1.0, rel=0.1)
    assert left.after(4) == 0


def test_what_has_no_room_is_left_out_before_it_is_tried(monkeypatch):
    """56 heads × 8,192² scores, twice, in half precision: 15 GB of them."""
    workload = tiny(tokens=8192, subject="llava-v1.6-34b", dtype="bfloat16",
                    size={"images": 0, "text_tokens": 8192})  # fmt: skip
    monkeypatch.setattr(room, "free_bytes", lambda device: 10 * 2**30)
    flash, eager = requests("flash", "eager")
    assert room.no_room(workload, flash) == ""
    assert room.no_room(workload, eager) == ("its scores need at least 14.0 GiB, 10.0 GiB are free")
    monkeypatch.setattr(room, "free_bytes", lambda device: 20 * 2**30)
    assert room.no_room(workload, eager) == ""


def test_weights_without_room_are_an_error_that_names_the_way_out(monkeypatch):
    workload = tiny(subject="llava-1.5-7b", kind="geometry", part="whole", dtype="float16")
    monkeypatch.setattr(room, "free_bytes", lambda device: 2 * 2**30)
    with pytest.raises(
        UnavailableError, match=r"its weights need 13\.2 GiB, 2\.00 GiB are free.*--attention-only"
    ):
        room.require_room(geometry("llava-1.5-7b"), workload)


def test_gradients_need_room_beside_weights_that_are_there(monkeypatch):
    shape = geometry("llava-1.5-7b")
    whole = {"subject": "llava-1.5-7b", "kind": "geometry", "part": "whole", "dtype": "float16"}
    prefill, training = (tiny(phase=phase, **whole) for phase in ("prefill", "training_step"))
    monkeypatch.setattr(room, "free_bytes", lambda device: 10 * 2**30)
    room.require_room(shape, prefill, weights_are_there=True)
    with pytest.raises(UnavailableError, match=r"its gradients need 13\.2 GiB, 10\.0 GiB are free"):
        room.require_room(shape, training, weights_are_there=True)
    monkeypatch.setattr(room, "free_bytes", lambda device: 20 * 2**30)
    room.require_room(shape, training, weights_are_there=True)
    with pytest.raises(UnavailableError, match=r"its weights and gradients need 26\.3 GiB"):
        room.require_room(shape, training)


def test_a_training_step_after_a_prefill_is_refused_where_its_gradients_do_not_fit(monkeypatch):
    shop = Workshop()
    whole = {"subject": "demo", "kind": "geometry", "part": "whole", "dtype": "float32"}
    shop.ready(tiny(phase="prefill", **whole))
    monkeypatch.setattr(room, "free_bytes", lambda device: 1000)
    shop.ready(tiny(phase="prefill", **whole))
    with pytest.raises(UnavailableError, match="its gradients need"):
        shop.ready(tiny(phase="training_step", **whole))


def test_free_memory_is_told_where_the_system_tells_it():
    free = room.free_bytes("cpu")
    assert free is None or free > 2**20
    assert room.free_bytes("mps") is None
