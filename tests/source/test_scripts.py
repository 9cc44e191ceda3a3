"""Scripts without an ending, commands inside commands, and what only looks like a switch."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import time

import pytest
from results import verdicts

from attnswitch.source import scan
from attnswitch.source.shell_text import commands, started_in

OPTION = (
    "import argparse\nfrom transformers import AutoModelForCausalLM as M\n"
    "p = argparse.ArgumentParser()\np.add_argument('--attn', default='sdpa')\na = p.parse_args()\n"
    "M.from_pretrained('x', attn_implementation=a.attn)\n"
)


@pytest.mark.parametrize(
    "first", ["#!/bin/bash", "#!/usr/bin/env bash", "#! /bin/sh -e", "#!/usr/bin/env -S zsh -f"]
)
def test_a_script_without_an_ending_is_read(first, tree):
    text = f"{first}\npip install flash-attn\npython test.py --attn flash_attention_2\n"
    result = scan(tree({"run": text, "test.py": OPTION}))
    assert verdicts(result) == {"run": "on", "test.py": "depends"}
    assert [(f.line, f.mechanism) for f in result.findings if f.path == "run"] == [
        (2, "dependency")
    ]


@pytest.mark.parametrize("first", ["#!/usr/bin/python3.11", "#!/usr/bin/env python"])
def test_a_python_program_without_an_ending_is_read(first, tree):
    result = scan(tree({"chat": f"{first}\n{OPTION}"}))
    assert verdicts(result) == {"chat": "depends"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"#!/usr/bin/perl\npip install flash-attn\n",
        b"#!\n",
        b"\xff\xfe#!/bin/sh",
        b"pip install flash-attn\n",
    ],
)
def test_other_files_without_an_ending_are_not(data, tree):
    result = scan(tree({"LICENSE": data}))
    assert (result.files, result.findings, result.skipped) == (0, [], [])


@pytest.mark.parametrize(
    "command",
    [
        "srun -p x bash -c 'torchrun --addr $(scontrol show $LIST | head -n1) \\\n  test.py --attn flash_attention_2 \\\n  --n 1'",
        'bash -lc "cd x && python test.py --attn flash_attention_2; echo done"',
        "ssh host sh -c 'bash -c \"python test.py --attn flash_attention_2\"'",
        "N=$(ls | wc -l) python test.py --attn flash_attention_2 | tee 'a|b'",
    ],
)
def test_what_a_script_hands_to_another_shell_is_followed(command, tree):
    result = scan(tree({"go.sh": f"set -e\n{command}\n", "test.py": OPTION}))
    assert verdicts(result)["go.sh"] == "on"


def test_a_command_that_a_program_hands_to_a_shell_is_followed(tree):
    starts = "import subprocess\n\nif __name__ == '__main__':\n    subprocess.run(['bash', '-c', 'cd x && python test.py --attn flash_attention_2'])\n"
    result = scan(tree({"go.py": starts, "test.py": OPTION}))
    assert verdicts(result)["go.py"] == "on"


def test_commands_are_told_apart_outside_quotes():
    text = "a 'b; c' && d \"e | f\" | g $(h; i) || j\nk"
    found = [c.text for c in commands(text)]
    assert found == ["a 'b; c'", 'd "e | f"', "g $(h; i)", "j", "k"]
    assert [c.text for c in commands("echo it's; python x.py")] == ["echo it's", "python x.py"]


def test_what_a_command_prints_takes_the_place_of_what_a_variable_was():
    text = "KIND=flash_attention_2\nKIND=$(cat kind | head -n 1)\npython x.py --attn $KIND\n"
    assert [c.text for c in commands(text)] == ["python x.py --attn $KIND"]


def started(text):
    return list(started_in(text))


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("bash -c 'python a.py --x; python b.py'", ["python a.py --x", "python b.py"]),
        ("bash -l -c 'cd x && python a.py'", ["python a.py"]),
        ("ssh host 'cd x && python a.py'", ["python a.py"]),
        ("sbatch --wrap='cd x && python a.py --n 1'", ["python a.py --n 1"]),
        ("sbatch --wrap='python a.py --n 1'", ["--wrap=python a.py --n 1"]),
        ("tmux send-keys 'cd x; python a.py' Enter", ["python a.py"]),
        ("eval 'python a.py --x; python b.py'", ["python a.py --x", "python b.py"]),
        ("N=1 bash -c 'export M=2; python a.py'", ["N=1 M=2 python a.py"]),
        ("python a.py --then 'python b.py'", ["python b.py", "python a.py --then python b.py"]),
        ("echo 'python a.py'", []),
        ("echo don\\'t; python a.py; echo don\\'t", ["python a.py"]),
        ("bash x.sh -c y z", ["bash x.sh -c y z"]),
    ],
)
def test_what_a_command_starts(text, starts):
    found = [" ".join(words) for words in started(text)]
    assert [f for f in found if f.startswith(("python", "N=1 M", "--wrap=py", "bash x"))] == starts


def test_a_long_line_of_quotes_is_split_at_once():
    started_at = time.process_time()
    assert len(list(commands("; ".join(["a 'b'"] * 20_000)))) == 20_000
    assert time.process_time() - started_at < 20


def test_variables_reach_what_is_handed_on(tree):
    program = "import os\nfrom transformers import AutoModelForCausalLM as M\n\nif __name__ == '__main__':\n    kernel = 'flash_attention_2' if os.environ.get('USE_FLASH_ATTN') == '1' else 'eager'\n    M.from_pretrained('x', attn_implementation=kernel)\n"
    files = {
        "t.py": program,
        "before.sh": "USE_FLASH_ATTN=1 bash -c 'python t.py --n 1'\n",
        "inside.sh": "bash -c 'export USE_FLASH_ATTN=1; python t.py'\n",
        "plain.sh": "USE_FLASH_ATTN=1 python t.py\n",
        "run.py": "import os\n\nif __name__ == '__main__':\n    os.system('USE_FLASH_ATTN=1 python t.py')\n",
    }
    found = verdicts(scan(tree(files)))
    assert found == {
        "t.py": "depends",
        **dict.fromkeys(["before.sh", "inside.sh", "plain.sh", "run.py"], "on"),
    }


def test_one_script_without_an_ending_is_read_as_one(tree):
    root = tree({"run": "#!/bin/bash\npip install flash-attn\n"})
    result = scan(root / "run")
    assert [(f.path, f.line) for f in result.findings] == [("run", 2)] and not result.skipped


def test_a_script_whose_model_a_function_of_the_tree_loads_is_a_program(tree):
    loads = "from transformers import AutoModelForCausalLM as M\n\n\ndef load(size):\n    return M.from_pretrained(size, attn_implementation='flash_attention_2'), 1\n"
    demo = "from model.load import load\n\nsize = '7b'\nmodel, tokenizer = load(size=size)\nprint(model.generate())\n"
    other = "from model.load import name\n\nx = name()\nprint(x)\n"
    files = {
        "model/load.py": loads + "\n\ndef name():\n    return 'x'\n",
        "demo.py": demo,
        "names.py": other,
    }
    assert verdicts(scan(tree(files))) == {"demo.py": "on"}


@pytest.mark.parametrize(
    "load",
    [
        "M.from_pretrained('x', attn_implementation='flash_attention_2')",
        "M.from_pretrained('x', attn_implementation='flash_attention_2').cuda()",
    ],
)
def test_a_script_that_does_nothing_but_load_a_model_is_a_program(load, tree):
    other = "if __name__ == '__main__':\n    print()\n"
    result = scan(
        tree(
            {
                "load.py": f"from transformers import AutoModel as M\n\nmodel = {load}\n",
                "o.py": other,
            }
        )
    )
    assert verdicts(result) == {"load.py": "on", "o.py": "off"}
    assert [f.status for f in result.findings] == ["live"]


def test_a_patch_that_another_package_brings_counts_by_its_name(tree):
    train = (
        "from llava.train.llama_flash_attn_monkey_patch import replace_llama_attn_with_flash_attn\n\n"
        "replace_llama_attn_with_flash_attn()\n\nfrom transformers import AutoModelForCausalLM as M\n\n"
        "if __name__ == '__main__':\n    M.from_pretrained('x')\n"
    )
    result = scan(tree({"train_mem.py": train}))
    assert verdicts(result) == {"train_mem.py": "on"}
    assert [(f.line, f.mechanism, f.effect) for f in result.findings] == [
        (3, "monkey-patch", "enables")
    ]


def test_a_patch_that_another_package_brings_reaches_its_own_family(tree):
    train = "from longchat.patch import replace_llama_attn_with_flash_attn\n\nreplace_llama_attn_with_flash_attn()\n\nfrom transformers import {0}ForCausalLM\n\nif __name__ == '__main__':\n    {0}ForCausalLM.from_pretrained('x')\n"
    found = verdicts(scan(tree({"mpt.py": train.format("Mpt"), "llama.py": train.format("Llama")})))
    assert found == {"llama.py": "on", "mpt.py": "off"}


def test_the_predictor_of_a_voice_is_no_switch(tree):
    voice = "def infer(use_sdp=True):\n    return duration(use_sdp=use_sdp)\n"
    assert scan(tree({"voice.py": voice})).findings == []
