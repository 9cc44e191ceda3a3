"""Packages that are there, in every state: they work, they are broken, they are half there."""

from __future__ import annotations

from pathlib import Path

WORKING = """
__version__ = "2.3.6"
from flash_attn.flash_attn_interface import flash_attn_func, flash_attn_varlen_func
"""
INTERFACE = '''
calls = []

def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False,
                    window_size=(-1, -1), return_attn_probs=False):
    """The package's own."""
    calls.append("flash_attn_func")
    return "the package's own"

def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k):
    calls.append("flash_attn_varlen_func")
    return "the package's own"

def something_else():
    return "untouched"
'''
UNDEFINED_SYMBOL = """
raise ImportError("flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEi")
"""
MISSING_LIBRARY = """
raise ImportError("libcudart.so.11.0: cannot open shared object file: No such file or directory")
"""


def make_package(
    folder: Path, name: str = "flash_attn", version: str = "2.3.6", **files: str
) -> None:
    """Write a package with metadata; `files` are modules, `__init__` among them."""
    package = folder / name
    package.mkdir(parents=True)
    for module, source in files.items():
        (package / f"{module}.py").write_text(source)
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    distribution = name.replace("_", "-")
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    (metadata / "RECORD").write_text(f"{name}/__init__.py,,\n")
