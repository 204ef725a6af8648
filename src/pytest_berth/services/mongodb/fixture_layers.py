"""The clean slate: a database is put back as it was before a test, or a fixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_berth.isolation.fixture_layers import Layers
from pytest_berth.services.mongodb.contents import Collection

if TYPE_CHECKING:
    from pytest_berth.services.mongodb.restore import DatabaseState

Contents = Mapping[str, Collection]


@dataclass
class DatabaseLayers(Layers[Contents]):
    """The layers of a worker's database.

    Attributes:
        state: The database.
        known: What it held when it was last looked at, or was put back.
        is_swept: Whether nobody may have written since.
    """

    state: DatabaseState
    known: Contents = field(default_factory=dict, init=False, repr=False)
    is_swept: bool = field(default=False, init=False)

    def sweep(self) -> None:
        """Take back what was written since the last test's end."""
        self.state.put_back(self.known)
        self.is_swept = True

    def refill(self) -> None:
        """Put on a new server what fixtures had written; what the last test wrote is gone."""
        self.forget_test()
        self._refill(self.known)

    def _settle(self) -> Contents:
        if not self.is_swept:
            self.known = self.state.look()
        return self.known

    def _return_to(self, before: Contents) -> None:
        self.known = before
        self.state.put_back(before)

    @property
    def _ends_with_session(self) -> bool:
        return False  # a server given by URL, which others use, outlives the session

    def _is_same(self, one: Contents, other: Contents) -> bool:
        return one == other

    def _rebased(self, before: Contents, earlier: Contents, later: Contents) -> Contents:
        found = {
            name: each for name, each in before.items() if later.get(name) == earlier.get(name)
        }
        for name, collection in later.items():
            if collection != earlier.get(name):
                found[name] = _merged(before.get(name), earlier.get(name), collection)
        return found


def _merged(before: Collection | None, earlier: Collection | None, later: Collection) -> Collection:
    """Return a collection as it was *before*, with what has changed from *earlier* to *later*."""
    was = earlier.documents if earlier else {}
    there = before.documents if before else {}
    kept = {
        key: document for key, document in there.items() if later.documents.get(key) == was.get(key)
    }
    changed = {
        key: document for key, document in later.documents.items() if was.get(key) != document
    }
    return replace(later, data=b"".join({**kept, **changed}.values()))
