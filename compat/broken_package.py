"""A flash_attn that is installed and does not import, as after an upgrade of torch."""

from __future__ import annotations

from pathlib import Path

MESSAGE = "flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"


def write_broken_flash_attn(folder: Path) -> Path:
    """Put the package and its metadata into `folder`, for PYTHONPATH."""
    package = folder / "flash_attn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise ImportError({MESSAGE!r})\n")
    metadata = folder / "flash_attn-2.6.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.6.3\n")
    return folder
