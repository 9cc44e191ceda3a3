"""The colours of reports: blue, orange and green that colour-blind readers tell apart.

After Okabe and Ito, "Color Universal Design" (2008), darkened for print and lightened for the dark
page. Colour never stands alone: letters, patterns or labels say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Palette:
    """Colours by meaning, as #rrggbb; no two of one palette are equal."""

    paper: str
    ink: str
    muted: str
    rule: str
    standard: str
    flash: str
    fused: str
    mixed: str
    unknown: str
    bad: str

    def of_family(self, family: str) -> str:
        """The colour of a family of backends."""
        return getattr(self, family) if family in _FAMILIES else self.unknown


_FAMILIES = ("standard", "flash", "fused", "mixed")

LIGHT = Palette(
    paper="#fdfcfa", ink="#1b1d22", muted="#61656e", rule="#dcdad4", standard="#1f69ad",
    flash="#d4700a", fused="#0b8063", mixed="#7a5195", unknown="#8b8f98", bad="#b3261e",
)  # fmt: skip
DARK = Palette(
    paper="#14161a", ink="#ebe9e4", muted="#9da2ac", rule="#34373e", standard="#6cb2f2",
    flash="#f2a03d", fused="#45c9a3", mixed="#c39be0", unknown="#80858f", bad="#ff8a80",
)  # fmt: skip


def css_variables(palette: Palette) -> str:
    """The palette as CSS custom properties, `--ink: #1b1d22; …`."""
    return " ".join(f"--{field.name}: {getattr(palette, field.name)};" for field in fields(palette))


def css_names(palette: Palette) -> dict[str, str]:
    """Each colour's `var(--name)`, to turn a drawn figure into one that follows the page."""
    return {getattr(palette, field.name): f"var(--{field.name})" for field in fields(palette)}
