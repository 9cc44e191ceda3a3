"""Local errors out of a verdict, gathered by role and phase in model order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from attnswitch.report.quantities import is_number
from attnswitch.report.sentences import largest
from attnswitch.report.site_ranges import layer_number, natural_order
from attnswitch.report.vocabulary import listing_order, role_and_phase


@dataclass(frozen=True)
class LocalError:
    """The largest errors of one site, each None where unknown; `tick` labels it on an axis."""

    site: str
    tick: str
    error: float | None
    yardstick: float | None
    allowed: float | None
    passes: bool

    def positive(self) -> Iterator[float]:
        """The values that a log axis can show."""
        for value in (self.error, self.yardstick, self.allowed):
            if value is not None and value > 0:
                yield value


def local_errors(record: dict[str, Any]) -> dict[tuple[str, str], list[LocalError]]:
    """{(role, phase): sites} of the record's verdict; empty where it holds none."""
    found: dict[tuple[str, str], list[LocalError]] = {}
    for entry in (record.get("verdict") or {}).get("sites") or []:
        if entry.get("local"):
            found.setdefault(role_and_phase(entry), []).append(_local_error(entry))
    return {
        place: sorted(found[place], key=lambda error: natural_order(error.site))
        for place in sorted(found, key=lambda place: listing_order(*place))
    }


def _local_error(entry: dict[str, Any]) -> LocalError:
    site, local = str(entry.get("site") or ""), entry["local"]
    return LocalError(
        site=site,
        tick=layer_number(site) or "·",
        error=_finite(local.get("error")),
        yardstick=_finite(local.get("yardstick_error")),
        allowed=_finite(local.get("allowed")),
        passes=bool(local.get("passes")),
    )


def _finite(error: Any) -> float | None:
    value = largest(error)
    return value if is_number(value) else None
