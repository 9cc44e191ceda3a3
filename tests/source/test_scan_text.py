"""The report for people: the answer first, and nothing that a terminal would break."""

from __future__ import annotations

from attnswitch.source import scan
from attnswitch.source.text import render

TRAIN = """\
from transformers import AutoModelForCausalLM


def train(attn_implementation=None):
    AutoModelForCausalLM.from_pretrained("x", attn_implementation=attn_implementation)


if __name__ == "__main__":
    train()
"""
MEM = 'from train import train\n\nif __name__ == "__main__":\n    train("flash_attention_2")\n'
FILES = {
    "train.py": TRAIN,
    "train_mem.py": MEM,
    **{f"run_{i}.sh": f"torchrun train_mem.py --lr {i}\n" for i in range(5)},
}


def test_the_first_line_answers_and_the_second_names_what_is_hard_coded(tree):
    root = tree(FILES)
    lines = render(scan(root), width=200).split("\n")
    assert lines[0].startswith(f"FlashAttention in {root}: on in 6 of 7 programs, off in 1, ")
    assert lines[1] == "Hard-coded at 1 place: train_mem.py:4."


def test_scripts_are_named_under_the_program_that_they_start(tree):
    text = render(scan(tree(FILES)))
    assert text.count("language model on") == 1
    assert "started by run_0.sh, run_1.sh, run_2.sh and 2 more" in text


def test_no_line_is_longer_than_the_terminal_but_paths_stay_whole(tree):
    long = "a_folder_with_quite_a_long_name/" * 4 + "train.py"
    text = render(scan(tree({**FILES, long: TRAIN})), width=72)
    assert long in text
    assert all(len(line) <= 72 for line in text.split("\n") if " " in line.strip())


def test_all_shows_what_the_short_report_counts(tree):
    calls = "".join(f"load(attn_implementation=a{i})\n" for i in range(60))
    files = {**FILES, "train.py": "import many\n" + TRAIN, "many.py": calls}
    result = scan(tree({**files, "dead.py": "import flash_attn\n"}))
    short, full = render(result), render(result, every=True)
    assert "more (keyword" in short and "--all shows them" in short
    assert "--all" not in full and full.count("hands on a choice") == 61


def test_a_tree_without_anything_says_so(tree):
    text = render(scan(tree({"a.py": "x = 1\n"})))
    assert "No program in" in text and "Nothing here speaks of FlashAttention" in text
