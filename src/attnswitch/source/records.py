"""What a scan reports: plain records, turned into JSON in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMA = "attnswitch.scan/1"

#: Mechanisms that fix the choice in the source: what `scan --check` refuses.
HARD_CODED_EFFECTS = frozenset({"enables", "requires"})


@dataclass(frozen=True, order=True)
class Line:
    """A place in the tree: path relative to the root, line counted from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass
class Finding:
    """One place that enables, requires, imports, forbids or hard-codes an attention kernel.

    `effect` is one of enables, requires, imports, forbids, offers (a choice the user has),
    passes (hands a choice on), calls, declares, installs. `fixed` says that the choice is
    written into the source, so that no option, variable or availability test decides it.
    `node` and `value` are the syntax nodes of the place and of the value it holds.
    """

    path: str
    line: int
    mechanism: str
    message: str
    effect: str
    target: str = "flash"
    status: str = "unknown"
    reason: str = ""
    role: str | None = None
    trap: str | None = None
    fixed: bool = False
    scope: str = ""
    node: object = field(default=None, repr=False, compare=False)
    value: object = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, object]:
        """The record as `attnswitch.scan/1` writes it."""
        record: dict[str, object] = {
            "path": self.path,
            "line": self.line,
            "mechanism": self.mechanism,
            "status": self.status,
            "message": self.message,
            "effect": self.effect,
            "target": self.target,
            "status_reason": self.reason,
            "hard_coded": self.fixed,
        }
        if self.role:
            record["role"] = self.role
        if self.trap:
            record["trap"] = self.trap
        return record


@dataclass
class EntryPoint:
    """What happens to attention when one program is started.

    `flash` is "on", "off" or "depends"; it says whether this program's source asks for
    FlashAttention. `sdpa` is true where PyTorch's scaled_dot_product_attention is used, whose
    own FlashAttention kernel may run even though nothing asked for it.
    """

    path: str
    line: int
    kind: str
    flash: str
    because: str
    turn_off: str
    default: str = ""
    vision_tower: str = "off"
    language_model: str = "off"
    depends_on: list[str] = field(default_factory=list)
    decided_by: list[Line] = field(default_factory=list)
    needs_package: list[Line] = field(default_factory=list)
    sdpa: bool = False
    launches: str | None = None
    traps: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The record as `attnswitch.scan/1` writes it."""
        return {
            "path": self.path,
            "line": self.line,
            "kind": self.kind,
            "flash": self.flash,
            "default": self.default or self.flash,
            "because": self.because,
            "turn_off": self.turn_off,
            "vision_tower": self.vision_tower,
            "language_model": self.language_model,
            "depends_on": self.depends_on,
            "decided_by": [{"path": at.path, "line": at.line} for at in self.decided_by],
            "needs_package": [{"path": at.path, "line": at.line} for at in self.needs_package],
            "sdpa_may_run_flash": self.sdpa,
            "launches": self.launches,
            "traps": self.traps,
        }


@dataclass(frozen=True)
class Skipped:
    """A file that was passed over, and why."""

    path: str
    reason: str


@dataclass
class Scan:
    """The result of one scan."""

    root: str
    findings: list[Finding]
    entry_points: list[EntryPoint]
    skipped: list[Skipped]
    files: int
    seconds: float = 0.0

    def hard_coded(self) -> list[Finding]:
        """Findings that `--check` refuses: the source decides, and the code is not dead."""
        return [f for f in self.findings if f.fixed and f.status != "dead"]

    def as_json(self) -> dict[str, object]:
        """The whole scan under the schema `attnswitch.scan/1`."""
        return {
            "schema": SCHEMA,
            "root": self.root,
            "findings": [f.as_json() for f in self.findings],
            "entry_points": [e.as_json() for e in self.entry_points],
            "skipped": [{"path": s.path, "reason": s.reason} for s in self.skipped],
            "files": self.files,
            "seconds": round(self.seconds, 3),
        }
