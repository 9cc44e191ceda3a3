"""Read a profile: which attention operator or kernel ran inside which site's range.

Works on the profiler's raw events, thread by thread. A kernel of a GPU is read where the CPU
launched it: inside a listed operator it is evidence of what that operator ran, elsewhere it is
attention that no operator tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attnswitch import guard, intent
from attnswitch.operators import Ran, is_flash_forward, what_ran
from attnswitch.tracing.arithmetic import (
    FAST_PATHS,
    MATMUL_OPERATORS,
    PROJECTIONS,
    SOFTMAX_BACKWARD,
    SOFTMAX_OPERATORS,
    Step,
    attention_steps,
    query_shapes,
)
from attnswitch.tracing.call_forms import dtype_of, mask_of
from attnswitch.tracing.launched import Launched, is_on_device, kernels_among
from attnswitch.tracing.profiling import span_of
from attnswitch.types import Site

RANGE_PREFIX = "attnswitch.site:"
# What torch.compile does is recorded under names that end so. Operators inside were traced on
# stand-ins of tensors; none of them ran. Nor does what the switch itself tries out count.
_PASSED_OVER = ("(dynamo_timed)", intent.TRIAL)
_SDPA = "aten::scaled_dot_product_attention"
_NODE = "autograd::engine::evaluate_function: "
_SAFE_SOFTMAX = "aten::_safe_softmax"  # in SDPA's math kernel; autograd knows it by this name
_ARITHMETIC = SOFTMAX_OPERATORS | MATMUL_OPERATORS | {_SAFE_SOFTMAX}
_KEPT = _ARITHMETIC | FAST_PATHS | PROJECTIONS | SOFTMAX_BACKWARD | {_SDPA}

# (thread, sequence number): by which a node of autograd's graph is known forward and backward
Node = tuple[int, int]


@dataclass
class Seen:
    """One attention computation that the profiler saw.

    `range_name` is the site's range (None outside every site), `names` the operators that prove
    it, `kernels` the GPU's kernels that do, `shapes` those of query, key, value where the profiler
    recorded them, `mask` the form of the mask in words, `nodes` by which its backward pass is
    recognised.
    """

    range_name: str | None
    backend: str
    family: str
    names: list[str]
    shapes: list[list[int]] = field(default_factory=list)
    mask: str | None = None
    dtype: str | None = None
    backward: bool = False
    nodes: list[Node] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)


@dataclass
class _Event:
    name: str
    start: int
    end: int
    raw: Any
    kernel: Launched | None = None

    @property
    def node(self) -> Node:
        return self.raw.start_thread_id(), self.raw.sequence_nr()


def range_name(site: Site, phase: str) -> str:
    """The name that a site's range has in a profile; a part without a path goes by its role."""
    return f"{RANGE_PREFIX}{phase}:{site.path or f'({site.role})'}"


def attention_in(
    raw_events: Iterable[Any],
    forward: Mapping[Node, Seen] | None = None,
    *,
    within: tuple[int, int] | None = None,
    own: Container[str] | None = None,
) -> list[Seen]:
    """Every attention computation among a profiler's raw events, in order of time.

    An operator inside another listed one is part of it, except a FlashAttention operator, which
    is always reported. A softmax between two matrix products, in no listed operator, is
    hand-written attention: `eager`. With `forward` (what an earlier profile saw, by the nodes it
    left in autograd's graph) the backward of a site is given that site's range. `within` are the
    nanoseconds in which somebody looked, `own` the ranges that they opened (None: all of them).
    """
    listed = list(raw_events)
    by_thread: dict[int | None, list[_Event]] = {}
    for raw in listed:
        name = raw.name()
        if (
            name in _KEPT
            or what_ran(name)
            or name.startswith(_NODE)
            or (name.startswith(RANGE_PREFIX) and (own is None or name in own))
            or name.endswith(_PASSED_OVER)
        ) and not is_on_device(raw):
            event = _Event(name, *span_of(raw), raw)
            by_thread.setdefault(raw.start_thread_id(), []).append(event)
    _add_kernels(by_thread, kernels_among(listed))
    known = dict(forward or {})
    seen: list[tuple[int, Seen]] = []
    for events in by_thread.values():
        ordered = sorted(events, key=lambda e: (e.start, -e.end))
        seen.extend(_Reader(known).read(ordered))
    low, high = within or (0, 2**63)
    # At 0: a kernel of which it is unknown when it was launched.
    return [
        one for at, one in sorted(seen, key=lambda pair: pair[0]) if not at or low <= at <= high
    ]


def believable(seen: list[Seen], counted: Container[str]) -> list[Seen]:
    """Without FlashAttention on stand-ins of tensors, which no kernel was launched for.

    `counted` holds the FlashAttention operators that were counted where their kernels begin.
    """
    if not guard.can_pass_through():
        return seen
    return [
        s for s in seen
        if s.kernels or not is_flash_forward(s.names[0]) or s.names[0] in counted
    ]  # fmt: skip


def _add_kernels(by_thread: dict[int | None, list[_Event]], kernels: list[Launched]) -> None:
    """Put each kernel among the events of the thread that launched it; None where that is unknown.

    Where no operator tells the thread, it is the one that was in a site's range just then.
    """
    for kernel in kernels:
        at, thread = kernel.at or 0, kernel.thread
        if thread is None and kernel.at is not None:
            inside = [
                number
                for number, events in by_thread.items()
                if any(e.name.startswith(RANGE_PREFIX) and e.start <= at < e.end for e in events)
            ]
            thread = inside[0] if len(inside) == 1 else None
        event = _Event(kernel.name, at, at, kernel.operator, kernel)
        by_thread.setdefault(thread, []).append(event)


class _Reader:
    """Reads one thread's events in order of time."""

    def __init__(self, known: dict[Node, Seen]):
        self._known = known
        self._found: list[tuple[int, Seen]] = []
        self._seen_of: dict[int, Seen] = {}  # by the event of the listed operator
        self._by_kernel: tuple[Seen, Any, Ran] | None = None  # the last: its operator, what it was
        # by where it stands: a fast path's operator or None, the site, and the steps
        self._arithmetic: dict[int, tuple[_Event | None, _Event | None, list[_Event]]] = {}

    def read(self, events: list[_Event]) -> list[tuple[int, Seen]]:
        open_events: list[_Event] = []
        for event in events:
            while open_events and open_events[-1].end <= event.start:
                open_events.pop()
            passed_over = any(e.name.endswith(_PASSED_OVER) for e in open_events)
            if not passed_over and not event.name.endswith(_PASSED_OVER):
                self._read_one(event, open_events)
            open_events.append(event)
        for fast_path, site, steps in self._arithmetic.values():
            self._read_arithmetic(fast_path, site, steps)
        return self._found

    def _read_one(self, event: _Event, around: list[_Event]) -> None:
        if event.kernel is not None:
            self._read_kernel(event, event.kernel, around)
            return
        site = _innermost(around, lambda name: name.startswith(RANGE_PREFIX))
        listed = [ran for e in around if (ran := what_ran(e.name))]
        ran = what_ran(event.name)
        if ran:
            # One operator shows twice where a Python kernel or a dispatch mode stands in front.
            again = any(e.name == event.name or what_ran(e.name) == ran for e in around)
            if not listed or (ran.family == "flash" and not again):
                self._add_listed(event, ran, around)
            elif self._found:
                self._remember(event, self._found[-1][1])
            return
        inside_node = _innermost(around, lambda name: name.startswith(_NODE))
        if event.name in SOFTMAX_BACKWARD and inside_node and not listed:
            self._add_softmax_backward(event, inside_node)
        elif event.name in _ARITHMETIC:
            if listed:
                if event.name not in MATMUL_OPERATORS and self._found:
                    self._remember(event, self._found[-1][1])
            elif event.name != _SAFE_SOFTMAX and not any(e.name in PROJECTIONS for e in around):
                fast_path = _innermost(around, lambda name: name in FAST_PATHS)
                key = id(fast_path or site)
                self._arithmetic.setdefault(key, (fast_path, site, []))[2].append(event)

    def _add_listed(self, event: _Event, ran: Ran, around: list[_Event]) -> None:
        told_by = _innermost(around, lambda name: name == _SDPA) or event
        one = Seen(
            self._range_of(ran, around),
            ran.backend,
            ran.family,
            [event.name],
            [list(shape) for shape in (event.raw.shapes() or [])[:3]],
            None if ran.backward else mask_of(told_by.name, told_by.raw),
            dtype_of(event.raw),
            ran.backward,
        )
        self._remember(event, one)
        self._seen_of[id(event)] = one
        self._found.append((event.start, one))

    def _read_kernel(self, event: _Event, kernel: Launched, around: list[_Event]) -> None:
        ran = kernel.ran
        one = next((self._seen_of[id(e)] for e in reversed(around) if id(e) in self._seen_of), None)
        if one is not None:
            if one.family != ran.family:  # the operator's name promised another family
                one.backend, one.family = ran.backend, ran.family
        else:
            one = self._joined(kernel, around) or self._add_lone_kernel(event, kernel, around)
        if kernel.name not in one.kernels:
            one.kernels.append(kernel.name)

    def _joined(self, kernel: Launched, around: list[_Event]) -> Seen | None:
        """The attention that the last kernel was of, where this one belongs to it."""
        if self._by_kernel is None:
            return None
        one, operator, ran = self._by_kernel
        same = (ran.backend, ran.backward) == (kernel.ran.backend, kernel.ran.backward)
        here = operator is not None and operator is kernel.operator
        if not same or not (kernel.ran.helper or ran.helper or here):
            return None
        if one.range_name != self._range_of(kernel.ran, around):
            return None
        if ran.helper:
            self._by_kernel = (one, operator, kernel.ran)
        return one

    def _add_lone_kernel(self, event: _Event, kernel: Launched, around: list[_Event]) -> Seen:
        ran, raw = kernel.ran, kernel.operator
        shapes = [list(s) for s in (raw.shapes() or [])[:3] if len(s) > 2] if raw else []
        one = Seen(self._range_of(ran, around), ran.backend, ran.family, [], shapes,
                   dtype=dtype_of(raw) if raw else None, backward=ran.backward)  # fmt: skip
        if raw is not None:
            self._remember(event, one)
        self._by_kernel = (one, raw, ran)
        self._found.append((event.start, one))
        return one

    def _range_of(self, ran: Ran, around: list[_Event]) -> str | None:
        site = _innermost(around, lambda name: name.startswith(RANGE_PREFIX))
        node = _innermost(around, lambda name: name.startswith(_NODE))
        if ran.backward and node and site is None:
            forward = self._known.get(_forward_node(node))
            return forward.range_name if forward else None
        return site.name if site else None

    def _add_softmax_backward(self, event: _Event, node: _Event) -> None:
        forward = self._known.get(_forward_node(node))
        if forward is not None:
            one = Seen(forward.range_name, forward.backend, forward.family, [event.name],
                       forward.shapes, forward.mask, forward.dtype, True)  # fmt: skip
            self._found.append((event.start, one))

    def _read_arithmetic(
        self, fast_path: _Event | None, site: _Event | None, steps: list[_Event]
    ) -> None:
        plain = [Step(e.name, e.raw.shapes() or []) for e in steps]
        for positions in attention_steps(plain):
            before, middle, after = (steps[i] for i in positions)
            names = [fast_path.name] if fast_path else [before.name, middle.name, after.name]
            shapes = query_shapes(plain[positions[0]], plain[positions[1]].shapes[0])
            one = Seen(site.name if site else None, "eager", "standard", names, shapes,
                       dtype=dtype_of(before.raw))  # fmt: skip
            self._remember(middle, one)
            self._found.append((before.start, one))

    def _remember(self, event: _Event, one: Seen) -> None:
        """Note by which node of autograd's graph the backward of `one` will be known."""
        thread, sequence = event.node
        if sequence >= 0 and not one.backward:
            one.nodes.append((thread, sequence))
            self._known[thread, sequence] = one


def _innermost(events: list[_Event], wanted: Callable[[str], bool]) -> _Event | None:
    return next((e for e in reversed(events) if wanted(e.name)), None)


def _forward_node(node: _Event) -> Node:
    return node.raw.fwd_thread_id(), node.raw.sequence_nr()
