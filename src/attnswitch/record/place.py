"""Where the record is: --record FILE, else ATTNSWITCH_RECORD, else the platform's data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "ATTNSWITCH_RECORD"
FILE_NAME = "record.sqlite"


def record_file(
    named: str | None = None,
    environment: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> Path:
    """The file that is meant; nothing is created.

    The platform's data folder is `$XDG_DATA_HOME` or `~/.local/share` (XDG Base Directory
    Specification), `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows.
    """
    variables = os.environ if environment is None else environment
    chosen = named or variables.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return _data_folder(variables, platform) / "attnswitch" / FILE_NAME


def _data_folder(variables: Mapping[str, str], platform: str) -> Path:
    home = Path(variables.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "Application Support"
    if platform == "win32":
        return Path(variables.get("LOCALAPPDATA") or home / "AppData" / "Local")
    told = variables.get("XDG_DATA_HOME", "")
    # The specification: a path that is not absolute is to be ignored.
    return Path(told) if os.path.isabs(told) else home / ".local" / "share"
