"""What fixtures write lies in layers, and is taken off again in the order of their scopes.

At the bottom lies what fixtures of the session wrote, above it what those of packages, modules and
classes wrote, on top what the test writes. When the fixtures of a layer have ended, the data is put
back as it was before the first of them. Where that fails, it is tried again before the next test or
fixture begins, which fails in its turn as long as it cannot be done.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import pytest

from pytest_berth.compat import pytest_private

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from pytest_berth.api import Namespace

B = TypeVar("B")
_SESSION = 1
# The module of fixtures that write nothing; those that make databases are in another one.
_INERT = "pytest_django.plugin"


class Place(NamedTuple):
    """Where in the tree of tests a fixture's scope lies.

    Attributes:
        node: The session, package, module or class.
        depth: How deep the node lies; the session's is the lowest.
        alone: Whether the fixture has parameters, and so may end before its scope does.
    """

    node: object
    depth: int
    alone: bool = False

    @property
    def kind(self) -> str:
        """The scope: ``session``, ``package``, ``module``, ``class``; or ``test``."""
        kinds = (pytest.Session, pytest.Class, pytest.Module, pytest.Package)
        found = (each.__name__.lower() for each in kinds if isinstance(self.node, each))
        return next(found, "test" if self is _TEST else "package")


_TEST = Place("test", sys.maxsize)


@dataclass(eq=False)
class Layer(Generic[B]):
    """What the fixtures of one scope write.

    Attributes:
        before: The data before the first of them.
        owners: Those that have not ended.
    """

    place: Place
    before: B
    owners: set[object]


@dataclass
class Layers(Generic[B]):
    """The layers of one worker's data; what a service knows of its data, a subclass adds."""

    _layers: list[Layer[B]] = field(default_factory=list, init=False, repr=False)
    _held: list[B] = field(default_factory=list, init=False, repr=False)
    # What the data has still to be put back to: one baseline at most.
    _owed: list[B] = field(default_factory=list, init=False, repr=False)

    @property
    def before(self) -> list[tuple[str, B]]:
        """What was there before each layer, by its kind: ``module``, ``class``; last ``test``."""
        return [(layer.place.kind, layer.before) for layer in self._layers]

    @property
    def baselines(self) -> list[B]:
        """All that the data may still be put back to."""
        return [*self._held, *(layer.before for layer in self._layers), *self._owed]

    @property
    def is_in_test(self) -> bool:
        """Whether there is a test's layer."""
        return any(layer.place is _TEST for layer in self._layers)

    def begin(self) -> None:
        """Begin a test's layer.

        Fixtures of a wider scope have written by now: what they wrote stays below it.

        Raises:
            IsolationError: What has ended before cannot be put back.
        """
        self.pay()
        self._lay(self._settle())

    @property
    def before_test(self) -> B | None:
        """The data before the running test, without what fixtures of a wider scope wrote since."""
        own = (layer.before for layer in self._layers if layer.place is _TEST)
        return next(own, None)

    def end(self) -> None:
        """Put everything back as it was before the test.

        Raises:
            IsolationError: The test left a transaction open, or changed the schema.
        """
        for layer in reversed(self._layers):
            if layer.place is _TEST:
                (owner,) = layer.owners
                self.leave(owner)
                return

    @contextmanager
    def entering(self, place: Place, owner: object) -> Iterator[None]:
        """Let a fixture of a wider scope write.

        It may come late, when narrower layers lie there already: what it writes belongs below.

        Raises:
            IsolationError: What has ended before cannot be put back.
        """
        self.pay()
        above = [layer for layer in self._layers if layer.place.depth > place.depth]
        below = self._layers[: len(self._layers) - len(above)]
        joined = self._join(below, place, owner)
        if joined and not above:
            yield
            return
        earlier = self._settle()
        self._held.append(earlier)
        if not joined:
            before = above[0].before if above else earlier
            self._layers.insert(len(below), Layer(place, before, {owner}))
        try:
            yield
        finally:
            if earlier in self._held:  # else the database has been made anew
                self._rebase([layer for layer in above if layer in self._layers], earlier)
                self._held.remove(earlier)

    def leave(self, owner: object) -> None:
        """Put back what is over now that a fixture, or the test, has ended.

        Raises:
            IsolationError: A transaction was left open, or the schema was changed.
        """
        self.note_end(owner)
        self.pay()

    def note_end(self, owner: object) -> None:
        """Note that a fixture, or the test, has ended: what it wrote is put back later."""
        for layer in self._layers:
            layer.owners.discard(owner)
        over: Layer[B] | None = None
        while self._layers and not self._layers[-1].owners:
            over = self._layers.pop()
        if over:
            self._owed = [over.before]

    def pay(self) -> None:
        """Put back what is over, and has not been put back yet.

        Raises:
            IsolationError: It cannot be put back, so that no test can begin.
        """
        for before in list(self._owed):
            self._return_to(before)
            self._owed.clear()

    def forget_test(self) -> None:
        """Drop the layer of a test that could not be put back, as its data is gone."""
        self._layers = [layer for layer in self._layers if layer.place is not _TEST]
        self._held.clear()

    def _refill(self, known: B) -> None:
        """Let a new server hold what is owed, or else what was known last.

        Args:
            known: What was known last, without what the last test wrote.
        """
        self._owed = self._owed or [known]
        self.pay()

    def _lay(self, before: B) -> None:
        self._layers.append(Layer(_TEST, before, {object()}))

    def _join(self, below: list[Layer[B]], place: Place, owner: object) -> bool:
        if place.depth == _SESSION and self._ends_with_session:
            return True  # the database ends with the session
        if not below or below[-1].place != place or place.alone:
            return False
        below[-1].owners.add(owner)
        return True

    def _rebase(self, above: list[Layer[B]], earlier: B) -> None:
        if not above:
            return
        later = self._settle()
        if not self._is_same(later, earlier):
            for layer in above:
                layer.before = self._rebased(layer.before, earlier, later)

    @property
    def _ends_with_session(self) -> bool:
        """Whether nobody looks at the data after the session."""
        return True

    def _settle(self) -> B:
        """Return what the data is now."""
        raise NotImplementedError

    def _return_to(self, before: B) -> None:
        """Put the data back."""
        raise NotImplementedError

    def _is_same(self, one: B, other: B) -> bool:
        """Tell whether two baselines are of the same data."""
        raise NotImplementedError

    def _rebased(self, before: B, earlier: B, later: B) -> B:
        """Return *before* with what has changed from *earlier* to *later*."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Unwinding:
    """A plugin, as long as a worker's data is in use: it tells when fixtures begin and end.

    Attributes:
        entering: Lets a fixture of a wider scope write.
        leave: Puts back what it wrote; called with the fixture and its name.
        may_write: Whether a test's fixtures may write.
    """

    entering: Callable[[Place, object], Any]
    leave: Callable[[object, str], None]
    may_write: Callable[[pytest.Item], bool]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: Any, request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Let each fixture of a wider scope write into its layer."""
        if fixturedef.scope == "function" or not self._concerns(fixturedef, request):
            return (yield)
        node = request.node
        place = Place(node, len(node.listchain()), alone=hasattr(request, "param"))
        with ExitStack() as stack:
            try:
                stack.enter_context(self.entering(place, fixturedef))
            except BaseException:
                # It was not set up at all: the next test that needs it tries again.
                pytest_private.forget_set_up(fixturedef)
                raise
            return (yield)

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Put back what is over."""
        if fixturedef.scope != "function":
            try:
                self.leave(fixturedef, fixturedef.argname)
            except BaseException:
                pytest_private.forget_set_up(fixturedef)
                raise

    def _concerns(self, fixturedef: Any, request: pytest.FixtureRequest) -> bool:
        if fixturedef.func.__module__.startswith("pytest_berth.") or is_inert(fixturedef):
            return False
        return self.may_write(pytest_private.item_of(request))


def is_inert(fixturedef: Any) -> bool:
    """Tell whether a fixture of another plugin is known to write nothing.

    One of pytest-django's begins and ends with each test that is in no class.
    """
    return bool(fixturedef.func.__module__ == _INERT)


class CapturedLayers(Layers["Mapping[Any, Any]"]):
    """The layers of a namespace that can tell all that it holds, by key, and put it back.

    Attributes:
        namespace: The namespace.
    """

    def __init__(self, namespace: Namespace) -> None:
        super().__init__()
        self.namespace = namespace
        self._known: Mapping[Any, Any] = {}

    def refill(self) -> None:
        """Put on a new server what fixtures had written; what the last test wrote is gone."""
        self.forget_test()
        self._refill(self._known)

    def _settle(self) -> Mapping[Any, Any]:
        self._known = dict(self.namespace.capture())
        return self._known

    def _return_to(self, before: Mapping[Any, Any]) -> None:
        self.namespace.restore(before)
        self._known = before

    @property
    def _ends_with_session(self) -> bool:
        return False  # an external server, which others use, outlives the session

    def _is_same(self, one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
        return one == other

    def _rebased(
        self, before: Mapping[Any, Any], earlier: Mapping[Any, Any], later: Mapping[Any, Any]
    ) -> Mapping[Any, Any]:
        kept = {key: value for key, value in before.items() if later.get(key) == earlier.get(key)}
        changed = {key: value for key, value in later.items() if earlier.get(key) != value}
        return {**kept, **changed}
