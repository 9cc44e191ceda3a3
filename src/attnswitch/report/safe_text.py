"""Text from models, prompts and file names, made safe to show.

Escaping for HTML is the template's work and for the terminal rich's; this is about what neither
does: control characters that drive a terminal, marks that turn the reading direction of everything
after them, and lone surrogates, which no file can hold.
"""

from __future__ import annotations

# Marks that embed, override or isolate a reading direction, and the zero-width line breakers.
_DIRECTION_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"


def _replacements() -> dict[int, str]:
    table = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
    table[0x7F] = "\u2421"
    table |= {code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}
    table |= {ord(mark): f"\\u{ord(mark):04x}" for mark in _DIRECTION_MARKS}
    table |= dict.fromkeys((*range(55296, 57344), 65534, 65535), "�")
    return table


_TABLE = _replacements()


def visible(text: object) -> str:
    """`text` with control characters as pictures (␛); line breaks and tabs are kept."""
    return str(text).replace("\r\n", "\n").translate(_TABLE)


def one_line(text: object, limit: int = 80) -> str:
    """`text` on one line of at most `limit` characters, with … for what was left out."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
