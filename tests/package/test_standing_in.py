"""What an import gets where flash_attn or xformers is missing or broken, and what is left after."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .fakes import MISSING_LIBRARY, UNDEFINED_SYMBOL, make_package
from .scenario import run_switched


def test_a_missing_package_is_stood_in_for_and_nothing_stays():
    run_switched("""
before = list(sys.meta_path), set(sys.modules)
assert missing("flash_attn") and missing("xformers.ops")
hold("blockwise")
import flash_attn, xformers.ops
from flash_attn.flash_attn_interface import flash_attn_unpadded_qkvpacked_func
from flash_attn.bert_padding import pad_input, unpad_input
from flash_attn.layers.rotary import apply_rotary_emb_func
out = flash_attn.flash_attn_func(q, q, q, causal=True)
assert out.shape == q.shape
assert torch.equal(xformers.ops.memory_efficient_attention(
    q, q, q, attn_bias=xformers.ops.LowerTriangularMask()), out)
release()
assert list(sys.meta_path) == before[0]
assert not [n for n in sys.modules if n.startswith(("flash_attn", "xformers"))]
assert missing("flash_attn") and missing("xformers.ops")
""")


def test_holders_are_counted():
    run_switched("""
hold("blockwise"); hold("math")
import flash_attn
release()
assert sys.modules["flash_attn"] is flash_attn
release()
assert missing("flash_attn")
""")


def test_a_function_kept_after_the_end_says_what_is_missing():
    assert "no request is in force" in run_switched("""
hold("blockwise")
from flash_attn import flash_attn_func
release()
try:
    flash_attn_func(q, q, q)
except attnswitch.AttnSwitchError as error:
    print(str(error).replace(chr(10), " "))
""")


def test_metadata_tells_the_truth():
    """What transformers asks before it believes in a package."""
    run_switched("""
import importlib.metadata, importlib.util
attnswitch.use("standard").__enter__()
package.hold()
assert importlib.util.find_spec("flash_attn") is not None
import flash_attn
assert flash_attn.__version__ == "2.8.3+attnswitch"
for name in ("flash-attn", "flash_attn", "xformers"):
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    raise AssertionError(name)
assert "flash_attn" not in importlib.metadata.packages_distributions()
from transformers.utils import is_flash_attn_2_available
assert not is_flash_attn_2_available()
from attnswitch.environment import missing_packages
assert "flash_attn: the package flash_attn is not installed" in missing_packages()
""")


@pytest.mark.parametrize("source", [UNDEFINED_SYMBOL, MISSING_LIBRARY])
def test_a_broken_package_does_not_stop_standard(source, tmp_path):
    make_package(tmp_path, __init__="from .interface import f", interface=source)
    last = run_switched(
        """
with attnswitch.use("standard"):
    package.hold()
    from flash_attn import flash_attn_func
    from flash_attn.bert_padding import pad_input
    assert flash_attn_func(q, q, q).shape == q.shape
    assert "flash_attn.interface" not in sys.modules
    print([a.because for a in package.activations if a.kind == "import"][-1])
    package.release()
try:
    import flash_attn
except ImportError:
    pass
else:
    raise AssertionError("the broken package is whole again")
""",
        tmp_path,
    )
    assert last.startswith("the package flash_attn is installed but does not import: ")
    assert source.split('"')[1] in last


def test_a_broken_package_is_the_cause_that_flash_reports(tmp_path):
    make_package(tmp_path, __init__=UNDEFINED_SYMBOL)
    assert "undefined symbol: _ZN3c104cuda9SetDeviceEi" in run_switched(
        """
with attnswitch.use("flash") as choice:
    package.hold()
    from flash_attn import flash_attn_func
    assert flash_attn_func(q, q, q).shape == q.shape
    package.release()
try:
    attnswitch.use("flash_attn").__enter__()
except attnswitch.AttnSwitchError as error:
    assert "undefined symbol" in str(error)
print([str(refused) for refused in choice.refused if refused.backend == "flash_attn"][0])
""",
        tmp_path,
    )


def test_broken_xformers_operators_are_stood_in_for(tmp_path):
    make_package(tmp_path, "xformers", __init__="", ops=UNDEFINED_SYMBOL)
    run_switched(
        """
hold("blockwise")
import xformers
from xformers.ops import memory_efficient_attention
assert memory_efficient_attention(q, q, q).shape == q.shape
release()
assert sys.modules["xformers"] is xformers and not hasattr(xformers, "ops")
""",
        tmp_path,
    )


def test_every_importing_line_is_listed(tmp_path):
    (tmp_path / "project.py").write_text(
        "import importlib.util\n"
        "HAS_IT = importlib.util.find_spec('flash_attn') is not None\n"
        "try:\n"
        "    from flash_attn import flash_attn_func\n"
        "except ImportError:\n"
        "    flash_attn_func = None\n"
        "from flash_attn import flash_attn_func as again\n"
    )
    last = run_switched(
        """
hold("blockwise")
import project
assert project.HAS_IT
import os
found = [(a.kind, a.name, os.path.basename(a.where)) for a in package.activations]
release()
print(found)
""",
        tmp_path,
    )
    assert "('probe', 'flash_attn', 'project.py:2')" in last
    assert "('import', 'flash_attn', 'project.py:4')" in last
    assert "('name', 'flash_attn.flash_attn_func', 'project.py:4')" in last
    assert "('name', 'flash_attn.flash_attn_func', 'project.py:7')" in last


def test_what_is_not_there_is_named():
    last = run_switched("""
said = []
hold("blockwise")
for line in (
    "from flash_attn.ops.rms_norm import rms_norm",
    "from flash_attn import flash_attn_triton",
    "from xformers.ops import SwiGLU",
):
    try:
        exec(line)
    except ImportError as error:
        said.append(str(error))
import xformers.ops
assert not hasattr(xformers.ops, "SwiGLU")
try:
    xformers.ops.SwiGLU
except AttributeError as error:
    said.append(str(error))
import importlib.util
assert importlib.util.find_spec("flash_attn.ops") is None
release()
print(said)
""")
    assert "flash_attn.ops is not implemented by attnswitch" in last
    assert "cannot import name 'flash_attn_triton'" in last
    assert "cannot import name 'SwiGLU'" in last
    assert "xformers.ops.SwiGLU is not implemented by attnswitch" in last


def test_a_namespace_folder_keeps_its_own_modules(tmp_path):
    """flash_attn.cute may be installed alone, with no flash_attn/__init__.py."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    (tmp_path / "flash_attn" / "cute" / "__init__.py").write_text("here = True")
    run_switched(
        """
hold("blockwise")
from flash_attn import flash_attn_func
import flash_attn.cute
assert flash_attn.cute.here
release()
""",
        tmp_path,
    )


def test_standing_by_imports_no_torch():
    code = """
import sys
from attnswitch.seams import package
package.hold(); package.release()
print("torch" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_compiled_code_gets_the_same():
    run_switched("""
hold("blockwise")
from flash_attn import flash_attn_func
compiled = torch.compile(lambda q: flash_attn_func(q, q, q, causal=True), backend="eager")
assert torch.equal(compiled(q), flash_attn_func(q, q, q, causal=True))
release()
""")
