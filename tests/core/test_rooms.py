"""Hold the picture of the rooms: who may import whom, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import attnswitch

ROOT = Path(attnswitch.__file__).parent
SHARED = {"errors", "types"}

# A room may import itself, errors, types, and what stands here. `seams` receive choices and never
# make them; `tracing` watches apart from `seams` and `switch`, so that the switch cannot vouch
# for itself; `backends`, `source` and `report` know nothing of the other rooms.
ALLOWED = {
    "errors": set(),
    "types": set(),
    "intent": set(),
    "sites": set(),
    "whereabouts": {"sites"},
    "operators": set(),
    "barrier": {"operators"},
    "guard": {"barrier", "whereabouts"},
    "running": {"arming"},
    "environment": set(),
    "backends": set(),
    "report": set(),
    "source": set(),
    "bench": {
        "environment", "geometries", "hardware", "models", "policy", "record", "report", "sites",
        "switch", "tracing",
    },
    "record": set(),
    "history": {"bench", "record", "switch"},
    "policy": {"backends"},
    "seams": {"backends", "intent", "guard", "environment"},
    "tracing": {
        "backends", "intent", "guard", "operators", "sites", "environment", "whereabouts", "policy",
        "running",
    },
    "forbidding": {"guard", "barrier", "seams", "environment", "policy"},
    "switch": {"policy", "seams", "intent", "guard", "sites", "environment", "whereabouts"},
    "hardware": set(),
    "explaining": {
        "switch", "policy", "backends", "environment", "sites", "hardware", "models", "report",
    },
    "doctor": {"environment", "policy", "backends", "tracing", "verification"},
    "models": {"environment", "policy", "sites"},
    "geometries": {"models"},
    "estimating": {
        "backends", "bench", "environment", "geometries", "hardware", "sites", "switch",
    },
    "verification": {"backends", "switch", "sites", "tracing", "policy", "bench"},
    "comparison": {
        "switch", "tracing", "verification", "bench", "models", "policy", "environment", "backends",
    },
    "arming": {
        "switch", "guard", "environment", "policy", "tracing", "seams", "running", "forbidding",
    },
    "pytest_plugin": {"switch", "tracing", "guard", "policy", "report", "forbidding"},
}  # fmt: skip
ANYTHING = {"cli", "__init__"}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """Rooms of attnswitch that a module imports, at its top or inside functions."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "attnswitch":
                names = [f"attnswitch.{alias.name}" for alias in node.names]
            else:
                names = [node.module]
        rooms |= {name.split(".")[1] for name in names if name.startswith("attnswitch.")}
    return rooms


def complaints() -> list[str]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        room = room_of(path)
        if room in ANYTHING:
            continue
        if room not in ALLOWED:
            found.append(f"{path.relative_to(ROOT)}: the room {room} is not in the picture")
            continue
        forbidden = imported_rooms(path.read_text()) - SHARED - {room} - ALLOWED[room]
        found += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(forbidden)]
    return found


def test_no_room_imports_what_it_must_not_know():
    assert complaints() == []


def test_the_check_can_fail():
    source = "from attnswitch.switch import apply\nimport attnswitch.seams.operator\n"
    source += "def f():\n    from attnswitch import guard\n"
    assert imported_rooms(source) == {"switch", "seams", "guard"}


def test_print_and_exit_live_in_the_commands_alone():
    """The one exception: arming has no other voice when its own hook cannot be set."""
    for path in ROOT.rglob("*.py"):
        if room_of(path) in ("cli", "arming"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.exit", "exit"), f"{path}: {called}"


def test_files_stay_small():
    long = {p.relative_to(ROOT): n for p in ROOT.rglob("*.py")
            if (n := len(p.read_text().splitlines())) > 400}  # fmt: skip
    assert not long
