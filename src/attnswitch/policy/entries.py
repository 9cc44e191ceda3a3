"""A policy as written, with the place of every part: from YAML, from JSON (YAML reads it), or from
a Python mapping, which has no lines.

YAML gives numbers and words types of their own where they are not in quotes; a key that stands
twice is an error, not the last one's win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnswitch.errors import PolicyError


@dataclass(frozen=True)
class Entry:
    """One key, its value, and where it stands.

    The value of a mapping that may hold entries of its own (`when`, an item of `rules`) stays a
    node until it is asked for: `entries` and `items` open it, `plain` gives Python data.
    """

    key: str
    value: Any
    path: str | None = None
    line: int | None = None
    node: Any = None

    def wrong(self, message: str) -> PolicyError:
        """The error to raise for this entry."""
        return PolicyError(message, path=self.path, line=self.line)

    @property
    def where(self) -> str:
        """File and line, or nothing."""
        return f"{self.path}:{self.line}" if self.path else ""

    def entries(self) -> list[Entry] | None:
        """The entries of a mapping, or None where it is none."""
        if self.node is None:
            if not isinstance(self.value, Mapping):
                return None
            return [Entry(str(key), value) for key, value in self.value.items()]
        return _entries_of_node(self.node, self.path)

    def items(self) -> list[Entry] | None:
        """The items of a list, or None where it is none; `key` is the item's number from 1."""
        if not isinstance(self.value, (list, tuple)):
            return None
        if self.node is None:
            return [Entry(str(number), item) for number, item in enumerate(self.value, 1)]
        return [
            Entry(str(number), _plain(node), self.path, node.start_mark.line + 1, node)
            for number, node in enumerate(self.node.value, 1)
        ]


def entries_of_mapping(policy: Mapping[str, Any]) -> list[Entry]:
    """The top-level entries of a policy given in Python."""
    return [Entry(str(key), value) for key, value in policy.items()]


def entries_of_file(path: Path) -> list[Entry]:
    """The top-level entries of a file with their lines; an empty file has none.

    Raises:
        PolicyError: the file is missing, cannot be read, or is no mapping.
    """
    node = _parse(path)
    if node is None:
        return []
    found = _entries_of_node(node, str(path))
    if found is None:
        raise PolicyError("must be a mapping", path=str(path), line=1)
    return found


def _entries_of_node(node: Any, path: str | None) -> list[Entry] | None:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return None
    found: list[Entry] = []
    for key_node, value_node in node.value:
        key, line = str(_plain(key_node)), key_node.start_mark.line + 1
        entry = Entry(key, _plain(value_node), path, line, value_node)
        if any(other.key == key for other in found):
            raise entry.wrong(f"{key} stands twice")
        found.append(entry)
    return found


def _plain(node: Any) -> Any:
    import yaml

    return yaml.SafeLoader("").construct_object(node, deep=True)


def _parse(path: Path) -> Any:
    import yaml

    try:
        return yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise PolicyError("there is no such policy file", path=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"cannot be read: {error}", path=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else None
        raise PolicyError(
            f"is no valid YAML or JSON: {problem}", path=str(path), line=line
        ) from None
