"""Shell scripts that start other shell scripts are programs too."""

from __future__ import annotations

import pytest
from results import entries

PROGRAM = """\
import argparse
from transformers import AutoModelForCausalLM

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--attn_implementation", default="eager")
    args = parser.parse_args()
    AutoModelForCausalLM.from_pretrained("x", attn_implementation=args.attn_implementation)
"""
FILES = {
    "eval/run.py": PROGRAM,
    "eval/quick.sh": "python run.py --attn_implementation flash_attention_2\n",
    "eval/plain.sh": "python run.py\n",
}


@pytest.mark.parametrize(
    "line",
    [
        "bash quick.sh $CKPT",
        "GPUS=8 bash -x eval/quick.sh",
        "./eval/quick.sh",
        "cd eval && sh quick.sh",
        "bash ${HERE}/quick.sh",
        "bash $(dirname $0)/quick.sh",
    ],
)
def test_a_script_is_on_where_the_script_that_it_starts_is(line, tree):
    entry = entries(tree({**FILES, "eval/all.sh": f"#!/bin/bash\n{line}\n"}))["eval/all.sh"]
    assert (entry.flash, entry.line, entry.launches) == ("on", 2, "eval/run.py")


def test_options_of_the_inner_script_are_kept(tree):
    assert entries(tree({**FILES, "all.sh": "bash eval/plain.sh\n"}))["all.sh"].flash == "off"


def test_scripts_are_followed_through_scripts_and_in_circles(tree):
    files = {**FILES, "a.sh": "bash b.sh\n", "b.sh": "bash a.sh\nbash eval/quick.sh\n"}
    found = entries(tree(files))
    assert found["a.sh"].flash == found["b.sh"].flash == "on"


@pytest.mark.parametrize("line", ["cp eval/quick.sh $OUT", "python x.py --f quick.sh", "echo a.sh"])
def test_a_script_that_is_only_named_is_not_started(line, tree):
    assert "eval/all.sh" not in entries(tree({**FILES, "eval/all.sh": line + "\n"}))
