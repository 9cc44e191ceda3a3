"""Notebooks are read cell by cell, on the lines that they have in the file."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import ast
import json
import random
import re
import time

import pytest
from results import verdicts

from attnswitch.cli.main import main
from attnswitch.source import patch, scan
from attnswitch.source.notebooks import as_python
from attnswitch.source.records import Skipped

LOAD = [
    "model = AutoModelForCausalLM.from_pretrained(\n",
    '    "liuhaotian/llava-v1.5-7b", attn_implementation="flash_attention_2"\n',
    ")",
]
START = "from transformers import AutoModelForCausalLM"


def notebook(*cells, indent=1):
    """A notebook of code cells, a text or (kind, text, outputs), as nbformat writes it."""
    written = []
    for cell in cells:
        kind, text, outputs = cell if isinstance(cell, tuple) else ("code", cell, [])
        lines = text if isinstance(text, list) else re.findall(r"[^\n]*\n|[^\n]+", text)
        made = {"cell_type": kind, "metadata": {}, "source": lines}
        if kind == "code":
            made |= {"execution_count": None, "outputs": outputs}
        written.append(dict(sorted(made.items())))
    whole = {"cells": written, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=indent, ensure_ascii=False)


def line_with(text, part):
    return next(n for n, line in enumerate(text.split("\n"), 1) if part in line)


def read(text):
    found = as_python("demo.ipynb", text)
    assert not isinstance(found, Skipped), found
    python, left_out = found
    assert python.count("\n") == text.count("\n")
    ast.parse(python)
    return python.split("\n"), left_out


def test_a_model_that_a_notebook_loads_is_found_on_its_line(tree):
    text = notebook(START, ("markdown", "Needs `flash_attn`.", None), LOAD)
    result = scan(tree({"demo.ipynb": text}))
    (finding,) = result.findings
    assert (finding.path, finding.mechanism, finding.status) == ("demo.ipynb", "keyword", "live")
    assert finding.line == line_with(text, "attn_implementation") and finding.fixed
    (program,) = result.entry_points
    assert (program.flash, program.language_model, program.kind) == ("on", "on", "inference")


def test_a_notebook_that_follows_the_tree_is_followed(tree):
    files = {
        "llava/__init__.py": "",
        "llava/builder.py": f"{START}\n\n\ndef load(path):\n    return AutoModelForCausalLM.from_pretrained(path, attn_implementation='flash_attention_2')\n",
        "tutorial.ipynb": notebook("from llava.builder import load\n", "model = load('x')"),
    }
    result = scan(tree(files))
    assert {f.path: f.status for f in result.findings} == {"llava/builder.py": "live"}
    assert {e.path: (e.flash, e.kind) for e in result.entry_points} == {
        "tutorial.ipynb": ("on", "inference")
    }


def test_programs_that_a_notebook_starts_are_followed(tree):
    files = {
        "train.py": f"{START}\nimport argparse\np = argparse.ArgumentParser()\np.add_argument('--attn', default='sdpa')\na = p.parse_args()\nAutoModelForCausalLM.from_pretrained('x', attn_implementation=a.attn)\n",
        "on.ipynb": notebook("import os", "!python train.py \\\n    --attn flash_attention_2"),
        "off.ipynb": notebook("!python train.py"),
    }
    found = {e.path: e.flash for e in scan(tree(files)).entry_points}
    assert found == {"train.py": "depends", "on.ipynb": "on", "off.ipynb": "off"}


@pytest.mark.parametrize(
    "command",
    [
        "!pip install flash-attn",
        "%pip install flash-attn --no-build-isolation",
        "!!pip install -U \\\n  flash-attn",
        "%%bash\ncd x\npip install flash-attn",
        "x = !pip install flash-attn",
        "!{sys.executable} -m pip install flash-attn",
        "!cd LLaVA && pip install flash-attn",
        "!MAX_JOBS=4 pip install flash-attn",
        "!sudo pip install flash-attn",
        "%%bash\nset -e; pip install flash-attn",
    ],
)
def test_a_package_that_a_notebook_installs_is_found(command, tree):
    text = notebook("import torch", command)
    (finding,) = scan(tree({"demo.ipynb": text})).findings
    assert finding.mechanism == "dependency"
    assert finding.line == line_with(text, "pip install")


def test_what_only_ipython_understands_is_read_as_something_else():
    text = notebook(
        "%load_ext autoreload\nimport torch\n%matplotlib inline\nif torch.cuda.is_available():\n    !nvidia-smi\n    %time f()\ntorch.nn?",
        "%%time\nx = 1\n%cd y",
        "%%html\n<b>no Python</b>",
        "y = (\n    'a %s'\n    % x\n)",
        "z = 3",
    )
    lines, left_out = read(text)
    code = [line for line in lines if line]
    assert [skipped.reason.partition(": ")[2] for skipped in left_out] == ["in another language"]
    assert "    get_ipython().system('nvidia-smi')" in code and "    f()" in code
    assert "    % x" in code, "a line of Python that begins with % stays"
    assert not any("html" in line or "<b>" in line for line in code)
    assert lines[line_with(text, '"z = 3"') - 1] == "z = 3"


def test_a_cell_that_is_not_python_is_left_out_and_named(tree):
    text = notebook("x = = 1", START, LOAD)
    result = scan(tree({"demo.ipynb": text}))
    assert [f.line for f in result.findings] == [line_with(text, "attn_implementation")]
    (skipped,) = result.skipped
    assert skipped.path == "demo.ipynb"
    assert skipped.reason.startswith(f"cell in line {line_with(text, '= = 1')}: syntax error")


@pytest.mark.parametrize(
    "cell",
    [
        "%time model = AutoModelForCausalLM.from_pretrained('x', attn_implementation='flash_attention_2')",
        "!ls\ny = (1\n     % 2)\nx = %env HOME\nm = AutoModelForCausalLM.from_pretrained('x', attn_implementation='flash_attention_2')",
    ],
)
def test_what_stands_beside_a_magic_is_read(cell, tree):
    result = scan(tree({"demo.ipynb": notebook(START, cell)}))
    assert result.skipped == [] and verdicts(result) == {"demo.ipynb": "on"}


STARTED = f"{START}\nimport argparse\np = argparse.ArgumentParser()\np.add_argument('--attn', default='sdpa')\na = p.parse_args()\nAutoModelForCausalLM.from_pretrained('x', attn_implementation=a.attn)\n"


@pytest.mark.parametrize(
    ("cell", "flash"),
    [
        ("attn = 'flash_attention_2'\n!python train.py --attn {attn}", "on"),
        ("attn = 'flash_attention_2'\n!python train.py --attn $attn", "on"),
        ("attn = 'sdpa'\n!python train.py --attn $attn", "off"),
        ("\n%%bash\nA=flash_attention_2\npython train.py --attn $A", "on"),
        ("%run train.py --attn flash_attention_2", "on"),
        ("!cd x && python train.py --attn flash_attention_2", "on"),
    ],
)
def test_what_a_notebook_puts_into_a_command_is_put_in(cell, flash, tree):
    found = verdicts(scan(tree({"train.py": STARTED, "go.ipynb": notebook(cell)})))
    assert found == {"train.py": "depends", "go.ipynb": flash}


def test_a_command_that_is_not_written_out_starts_nothing(tree):
    cells = [
        "args = input()\nget_ipython().system('python train.py ' + args)\nget_ipython().system()"
    ]
    found = scan(tree({"train.py": STARTED, "go.ipynb": notebook(*cells)}))
    assert {"train.py": "depends"}.items() <= verdicts(found).items() and not found.skipped


def test_an_ending_in_capitals_is_a_notebook_too(tree, capsys):
    root = tree({"DEMO.IPYNB": notebook(START, LOAD)})
    assert [u.reason for u in patch(root).untouched] == ["in a notebook: change the cell there"]
    assert main(["scan", "--check", str(root)]) == 1
    assert capsys.readouterr().err == "1 hard-coded in notebooks: change the cells there\n"


def test_a_program_that_only_a_notebook_starts_is_live(tree):
    program = f"{START}\n\ndef main():\n    AutoModelForCausalLM.from_pretrained('x', attn_implementation='flash_attention_2')\n\n\nif True:\n    main()\n"
    (finding,) = scan(tree({"lib/t.py": program, "a.ipynb": notebook("!python lib/t.py")})).findings
    assert finding.status == "live"


def test_words_that_look_like_the_code_do_not_take_its_place():
    text = notebook("x = 1", ("markdown", "import os", None), "import os")
    lines, _ = read(text)
    places = [n for n, line in enumerate(text.split("\n")) if '"import os"' in line]
    assert [n for n, line in enumerate(lines) if line == "import os"] == places[1:]


def test_several_lines_in_one_are_not_told_apart(tree):
    text = notebook(START, LOAD).replace('"from transformers', '"import os\\nfrom transformers')
    (skipped,) = scan(tree({"demo.ipynb": text})).skipped
    assert "not written a line for each line" in skipped.reason


def test_a_line_of_blanks_is_read_at_once():
    started = time.process_time()
    read(notebook("!ls\nx = 1\n" + " " * 50_000))
    assert time.process_time() - started < 20


def test_a_source_that_an_output_shows_is_not_taken_for_a_cell():
    shown = [{"data": {"application/json": {"source": ["import xformers\n", "x"]}}}]
    text = notebook(("code", "import torch\ny = 1", shown), ("code", "", []), "import math")
    lines, _ = read(text)
    assert [line for line in lines if line] == ["import torch", "y = 1", "import math"]
    assert lines[line_with(text, '"y = 1"') - 1] == "y = 1"


def test_a_cell_may_be_one_text():
    text = notebook("x = 1", ("markdown", "some\ntext", None), "", "import math", "y = 2")
    whole = json.loads(text)
    for cell in whole["cells"]:
        if cell["source"] in ([], ["import math"]) or cell["cell_type"] == "markdown":
            cell["source"] = "".join(cell["source"])
    lines, left_out = read(json.dumps(whole, indent=1))
    assert [line for line in lines if line] == ["x = 1", "import math", "y = 2"] and not left_out


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{}", "no notebook"),
        ("not json", "no notebook"),
        ("[" * 100_000, "no notebook"),
        ('{"cells": 3}', "no notebook"),
        ('{"cells": [{"cell_type": "code", "source": [1]}]}', "no notebook"),
        (notebook("import flash_attn", indent=None), "not written a line for each line"),
    ],
    ids=["empty", "text", "deep", "number", "wrong source", "one line"],
)
def test_other_files_come_back_with_a_reason(text, reason, tree):
    result = scan(tree({"x.ipynb": text, "y.ipynb": notebook(START, LOAD)}))
    assert [f.path for f in result.findings] == ["y.ipynb"]
    (skipped,) = result.skipped
    assert skipped.path == "x.ipynb" and reason in skipped.reason


def test_a_damaged_notebook_is_read_in_part_or_passed_over():
    rng = random.Random(0)
    whole = notebook(START, "%%time\n!pip install x", ("markdown", "a\nb", None), LOAD).split("\n")
    read_in_part = 0
    for _ in range(300):
        lines = list(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(lines))
            lines[at] = rng.choice(
                [lines[at][:-2], lines[at].replace("x", "%"), rng.choice(lines), "!"]
            )
        found = as_python("x.ipynb", "\n".join(lines))
        if not isinstance(found, Skipped):
            ast.parse(found[0])
            assert found[0].count("\n") == len(lines) - 1
            read_in_part += 1
    assert 20 < read_in_part < 280


def test_odd_texts_keep_their_lines():
    text = notebook("a = 'é\u2028\x0c'\nb = '\U0001f600'\nc = 1", "d = 2")
    lines, left_out = read(text.replace("\n", "\r\n"))
    assert left_out == [] and lines[line_with(text, '"d = 2"') - 1] == "d = 2"


def test_a_patch_leaves_a_notebook_and_says_so(tree):
    text = notebook(START, LOAD)
    root = tree({"demo.ipynb": text})
    result = patch(root, remove_dead=True)
    assert result.changed == [] and result.diff() == ""
    (left,) = result.untouched
    assert (left.path, left.reason) == ("demo.ipynb", "in a notebook: change the cell there")


def test_a_check_refuses_a_hard_coded_notebook(tree, capsys):
    root = tree({"demo.ipynb": notebook(START, LOAD)})
    assert main(["scan", "--check", str(root)]) == 1
    said = capsys.readouterr().err
    assert said == "1 hard-coded in notebooks: change the cells there\n"
    tree({"demo.py": f"{START}\n{''.join(LOAD)}\nprint(model)\n"})
    assert main(["scan", "--check", str(root)]) == 1
    assert capsys.readouterr().err.startswith("1 hard-coded; make it a parameter")
