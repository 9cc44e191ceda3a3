"""Say in a project's own tests which attention may run: markers, a fixture, options.

    @pytest.mark.no_flash_attention      the test fails where a FlashAttention kernel would run
    @pytest.mark.attention("standard")   the test runs under that request
    attention_receipts                   a fixture: what ran, as receipts

pytest loads this module in every project of the environment, so it imports neither torch nor the
rest of attnswitch until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from attnswitch.types import Receipt

_NO_FLASH, _ATTENTION = "no_flash_attention", "attention"
_SECTION = "attention receipts"
# Who asks, in messages: a marker or the suite's setting
_SOURCES = ("pytest's attention", "pytest's no_flash_attention")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini settings for a whole suite."""
    group = parser.getgroup("attnswitch", "which attention kernels may run")
    group.addoption(
        "--no-flash-attention",
        action="store_true",
        default=None,
        help="fail every test in which a FlashAttention kernel would run",
    )
    group.addoption(
        "--attention", metavar="REQUEST", help="run every test under this request, as `standard`"
    )
    parser.addini(
        _NO_FLASH, "fail every test in which a FlashAttention kernel would run", "bool", False
    )
    parser.addini(_ATTENTION, "run every test under this attention request", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and read the suite's request."""
    config.addinivalue_line(
        "markers",
        f"{_NO_FLASH}(on=True): the test fails where a FlashAttention kernel would run",
    )
    config.addinivalue_line(
        "markers", f'{_ATTENTION}(request): the test runs under the request, as "standard"'
    )
    word = _suites_request(config)
    if word:
        _check(word, "the suite's setting")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse markers that say nothing that can be asked for, before any test runs."""
    for item in items:
        for marker in item.iter_markers(_ATTENTION):
            if len(marker.args) != 1 or marker.kwargs:
                raise pytest.UsageError(
                    f'{item.nodeid}: @pytest.mark.attention takes one request, as "standard"'
                )
            _check(marker.args[0], f"@pytest.mark.attention of {item.nodeid}")


def _check(word: Any, source: str) -> None:
    from attnswitch.errors import AttnSwitchError
    from attnswitch.policy.requests import parse_request

    try:
        if isinstance(word, str):
            parse_request(word, source)
    except AttnSwitchError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Put what is asked in force around the test's own code."""
    request, barred = _request_for(item), _bars_flash(item)
    if not request and not barred:
        yield
        return
    with ExitStack() as stack:
        tripped, marked = _enter(stack, request, barred)
        outcome = yield
        # What the test itself forbids inside, it may expect to be stopped.
        news = [trip for trip in tripped[marked:] if trip.forbidden_by.startswith(_SOURCES)]
    if news:
        message = "\n".join([f"{item.nodeid} reached FlashAttention", *map(_lines, news)])
        outcome.force_exception(pytest.fail.Exception(message, pytrace=False))


def _enter(stack: ExitStack, request: str | None, barred: bool) -> tuple[list[Any], int]:
    """Enter what is asked; returns the marks of stopped calls, and how many there were before."""
    from attnswitch import guard
    from attnswitch.errors import AttnSwitchError
    from attnswitch.forbidding import forbid
    from attnswitch.switch import use

    marked = len(guard.tripped)
    try:
        if request:
            stack.enter_context(use(request, source=_SOURCES[0]))
        if barred:
            stack.enter_context(forbid("flash", source=_SOURCES[1]))
    except AttnSwitchError as error:
        stack.close()
        pytest.fail(str(error), pytrace=False)
    return guard.tripped, marked


def _lines(trip: Any) -> str:
    return (
        f"  at        {trip.site or 'no module of the model'}\n"
        f"  operator  {trip.operator}\n"
        f"  called    {trip.where}\n"
        f"  forbidden by {trip.forbidden_by}"
    )


def _request_for(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker(_ATTENTION)
    return marker.args[0] if marker else _suites_request(item.config)


def _suites_request(config: pytest.Config) -> str | None:
    return config.getoption("--attention") or config.getini(_ATTENTION) or None


def _bars_flash(item: pytest.Item) -> bool:
    marker = item.get_closest_marker(_NO_FLASH)
    if marker:
        return bool(marker.args[0] if marker.args else marker.kwargs.get("on", True))
    return bool(item.config.getoption("--no-flash-attention") or item.config.getini(_NO_FLASH))


class AttentionReceipts:
    """What ran in the blocks of one test: the value of the fixture `attention_receipts`.

    with attention_receipts.of(model):
        model(inputs)
    assert attention_receipts.families == {"standard"}
    """

    def __init__(self) -> None:
        self._traces: list[Any] = []

    @contextmanager
    def of(self, model: Any = None) -> Iterator[Any]:
        """Watch a model, or without one everything on this thread, while the block runs."""
        from attnswitch.tracing.observer import trace

        watched = trace(model)
        self._traces.append(watched)
        with watched:
            yield watched

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of every block so far."""
        return [receipt for one in self._traces for receipt in one.receipts]

    @property
    def families(self) -> set[str | None]:
        """The families that ran; None stands for what could not be observed."""
        return {receipt.family for receipt in self.receipts}

    def __str__(self) -> str:
        from attnswitch.report.text import trace_text

        receipts = [receipt.to_json() for receipt in self.receipts]
        return trace_text({"schema": "attnswitch.trace/1", "receipts": receipts})


@pytest.fixture
def attention_receipts(request: pytest.FixtureRequest) -> Iterator[AttentionReceipts]:
    """Which attention kernels ran in the test; printed with the test's report where it fails."""
    watched = AttentionReceipts()
    yield watched
    if watched.receipts:
        request.node.add_report_section("teardown", _SECTION, str(watched))
