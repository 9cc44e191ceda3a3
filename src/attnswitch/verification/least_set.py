"""The smallest set of items that makes a test pass, in few evaluations.

Delta debugging (Zeller and Hildebrandt, 2002) for tests that more items cannot turn back, as
QuickXplain (Junker, 2004) uses them: the items are put in a row, and the shortest beginning of it
that passes ends in an item that is needed. That item goes to the front, and so on. k items of n
take about k·log₂n evaluations. The answer is then checked: alone it must pass, and without any
one of its items it must not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class OutOfBudgetError(Exception):
    """No evaluation is left."""


@dataclass
class Search(Generic[T]):
    """What is known so far: `needed` items, and `candidates` among which the others are.

    `complete` says that nothing is left to find; `minimal` that each item was shown to be needed.
    """

    passes: Callable[[frozenset[T]], bool]
    budget: int
    evaluations: int = 0
    needed: list[T] = field(default_factory=list)
    candidates: list[T] = field(default_factory=list)
    complete: bool = False
    minimal: bool = False
    _seen: dict[frozenset[T], bool] = field(default_factory=dict)

    def evaluate(self, items: frozenset[T]) -> bool:
        """The test on a set, remembered.

        Raises:
            OutOfBudgetError: it was not tried before and nothing is left.
        """
        if items not in self._seen:
            if self.evaluations >= self.budget:
                raise OutOfBudgetError
            self.evaluations += 1
            self._seen[items] = self.passes(items)
        return self._seen[items]

    def run(self, items: Sequence[T]) -> None:
        """Search a set that passes as a whole, and whose empty subset does not."""
        self.candidates = list(items)
        try:
            while not self.evaluate(frozenset(self.needed)):
                last = self._shortest_beginning()
                self.needed.append(self.candidates[last])
                # What comes after it was not needed to pass.
                self.candidates = self.candidates[:last]
            self.complete, self.candidates = True, []
            self._check()
        except OutOfBudgetError:
            return

    def _shortest_beginning(self) -> int:
        """Index of the last item of the shortest beginning that passes beside `needed`."""
        low, high = 0, len(self.candidates) - 1
        while low < high:
            middle = (low + high) // 2
            if self.evaluate(frozenset([*self.needed, *self.candidates[: middle + 1]])):
                high = middle
            else:
                low = middle + 1
        return low

    def _check(self) -> None:
        """Drop what turns out not to be needed; then the set is minimal."""
        for item in list(self.needed):
            rest = frozenset(self.needed) - {item}
            if self.evaluate(rest):
                self.needed.remove(item)
        self.minimal = True
