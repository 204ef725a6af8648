"""What a worker's part of a WireMock holds, and the way back to it.

A look asks for stubs and global settings, and for scenarios where a stub has one, in one round
trip. Answers that are the same, byte for byte, say that nothing has changed. Requests that were
received are no part of it: WireMock cannot be given any, so that each test begins without.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import NotRestoredError
from pytest_berth.services.wiremock.admin import Admin, Question
from pytest_berth.services.wiremock.launch import TOKEN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_berth.services.wiremock.shared_stubs import Place

_STUBS, _SETTINGS = Question("GET", "/mappings"), Question("GET", "/settings")
_SCENARIOS, _FILES = Question("GET", "/scenarios"), Question("GET", "/files")
_HAS_SCENARIOS = b'"scenarioName"'
_AT_ONCE = 100


@dataclass(frozen=True)
class Baseline:
    """What there was at a time.

    Attributes:
        stubs: The stubs by id, the oldest first: the newest one that matches answers.
        scenarios: The states of scenarios by name.
        settings: The global settings; empty on a server of others.
        answers: What the server has told, word for word.
    """

    stubs: Mapping[str, Any] = field(default_factory=dict)
    scenarios: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[bytes, ...] = field(default=(), compare=False, repr=False)

    @property
    def content(self) -> tuple[object, ...]:
        """What makes two of them the same: the order of stubs counts."""
        return tuple(self.stubs.items()), self.scenarios, self.settings

    def rebased(self, earlier: Baseline, later: Baseline) -> Baseline:
        """Return this one with what has changed from *earlier* to *later*."""
        return Baseline(
            _rebased(self.stubs, earlier.stubs, later.stubs),
            _rebased(self.scenarios, earlier.scenarios, later.scenarios),
            _rebased(self.settings, earlier.settings, later.settings),
        )


class Stubs:
    """A worker's part of a server.

    Args:
        admin: berth's own connection.
        place: What of the server is the worker's.
        files: Contents of the files that stubs name, by path.
    """

    def __init__(self, admin: Admin, place: Place, files: Mapping[str, bytes]) -> None:
        self.admin = admin
        self.place = place
        self.dirty: set[str] = set()
        self._files = files
        self._has_scenarios = False

    def look(self, known: Baseline, *, forget_requests: bool = False) -> Baseline:
        """Return what there is now: *known* itself, where nothing has changed."""
        questions = [_STUBS]
        questions += [] if self.place.is_shared else [_SETTINGS]
        questions += [_SCENARIOS] if self._has_scenarios else []
        asked = len(questions)
        if forget_requests:
            questions.append(self._forget_requests())
        answers = tuple(self.admin.ask(*questions)[:asked])
        if answers == known.answers:
            return known
        has_scenarios = _HAS_SCENARIOS in answers[0]
        if has_scenarios != self._has_scenarios:
            self._has_scenarios = has_scenarios
            return self.look(known)
        return self._parsed(answers)

    def forget_requests(self) -> None:
        """Empty the journal of received requests, as far as they are the worker's."""
        self.admin.ask(self._forget_requests())

    def put_back(self, before: Baseline, now: Baseline) -> Baseline:
        """Make the server hold what it held.

        Args:
            before: What it held.
            now: What it holds.

        Returns:
            What it holds then, with the server's own words for it.

        Raises:
            NotRestoredError: It holds something else even so.
        """
        if now is before or now.content == before.content:
            return now
        self._note_dirty(before, now)
        self._put_stubs_back(before, now)
        if before.answers and _is_nothing_but_added_to(before, now):
            return before  # a look would say so
        if before.settings != now.settings:
            self.admin.post("/settings", before.settings)
        found = self.look(Baseline())
        for name, state in before.scenarios.items():
            if found.scenarios.get(name) != state:
                moved = Question("PUT", f"/scenarios/{_quoted(name)}/state", {"state": state})
                self.admin.ask(moved)
        if found.scenarios != before.scenarios:
            found = self.look(Baseline())
        if found.content != before.content:
            raise _not_restored(before, found)
        return found

    def remove_all(self) -> None:
        """Remove the stubs that are the worker's, from a server of others."""
        found = self.look(Baseline())
        self._delete(found.stubs)
        self.forget_requests()

    def add(self, stubs: Mapping[str, Any]) -> None:
        """Add stubs, the oldest first."""
        newest_first = list(stubs.values())[::-1]
        options = {"duplicatePolicy": "OVERWRITE", "deleteAllNotInImport": False}
        self.admin.post("/mappings/import", {"mappings": newest_first, "importOptions": options})

    def _put_stubs_back(self, before: Baseline, now: Baseline) -> None:
        if _is_added_to(before, now):
            self._delete([each for each in now.stubs if each not in before.stubs])
        elif self.place.is_shared:
            self._delete(now.stubs)
            self.add(before.stubs)
        else:
            # With the files that WireMock would read again: those of persistent stubs come back.
            self.admin.ask(Question("DELETE", "/mappings"))
            self.add(before.stubs)
            self._put_files_back(self.admin.ask(_FILES)[0])

    def _delete(self, ids: Iterable[str]) -> None:
        """Delete stubs, and put back which files there are, in one round trip for most tests."""
        questions = [Question("DELETE", f"/mappings/{each}") for each in ids]
        if not self.place.is_shared:
            questions.append(_FILES)
        answers = [b""]
        for at in range(0, len(questions), _AT_ONCE):
            answers = self.admin.ask(*questions[at : at + _AT_ONCE])
        if not self.place.is_shared:
            self._put_files_back(answers[-1])

    def _put_files_back(self, answer: bytes) -> None:
        """Remove files that were added; what others hold, each would have to be asked for."""
        there = set(json.loads(answer))
        own = TOKEN_FILE.format(token=self.admin.server.credentials.token)
        for name in there - self._files.keys() - {own}:
            self.admin.ask(Question("DELETE", f"/files/{_quoted(name)}"))
        gone = sorted(self._files.keys() - there)
        if gone:
            raise NotRestoredError(
                "a test has deleted files that the project's stubs name.",
                why=", ".join(gone),
                remedy="let tests add files of their own, by other names",
            )

    def _forget_requests(self) -> Question:
        if self.place.is_shared:
            return Question("POST", "/requests/remove", {"urlPathPattern": self.place.below})
        return Question("DELETE", "/requests")

    def _parsed(self, answers: tuple[bytes, ...]) -> Baseline:
        told = [json.loads(each) for each in answers]
        own = [stub for stub in reversed(told[0]["mappings"]) if self.place.owns(stub)]
        scenarios = told[-1]["scenarios"] if self._has_scenarios else ()
        names = {stub["scenarioName"] for stub in own if "scenarioName" in stub}
        return Baseline(
            {stub["id"]: stub for stub in own},
            {each["name"]: each["state"] for each in scenarios if each["name"] in names},
            {} if self.place.is_shared else told[1]["settings"],
            answers,
        )

    def _note_dirty(self, before: Baseline, now: Baseline) -> None:
        both = {**before.stubs, **now.stubs}
        changed = (each for each in both if now.stubs.get(each) != before.stubs.get(each))
        self.dirty |= {describe(both[each], self.place) for each in changed}
        if before.settings != now.settings:
            self.dirty.add("settings")
        self.dirty |= {
            f"scenario {name}"
            for name, state in before.scenarios.items()
            if now.scenarios.get(name) != state
        }


def describe(stub: Mapping[str, Any], place: Place) -> str:
    """Return a stub's name, or what it matches: ``POST /charges``."""
    if stub.get("name"):
        return str(stub["name"])
    return describe_request(stub.get("request", {}), place)


def describe_request(request: Mapping[str, Any], place: Place) -> str:
    """Return what a request pattern matches, in two words."""
    names = ("url", "urlPath", "urlPathTemplate", "urlPattern", "urlPathPattern")
    url = next((request[name] for name in names if name in request), "any URL")
    return f"{request.get('method', 'ANY')} {place.shown(url)}"


def _rebased(
    before: Mapping[str, Any], earlier: Mapping[str, Any], later: Mapping[str, Any]
) -> Any:
    kept = {key: value for key, value in before.items() if later.get(key) == earlier.get(key)}
    return {**kept, **{key: value for key, value in later.items() if earlier.get(key) != value}}


def _is_nothing_but_added_to(before: Baseline, now: Baseline) -> bool:
    others = (before.settings, before.scenarios) == (now.settings, now.scenarios)
    return others and _is_added_to(before, now)


def _is_added_to(before: Baseline, now: Baseline) -> bool:
    """Tell whether nothing has happened to stubs but that some were added."""
    rest = [(each, stub) for each, stub in now.stubs.items() if each in before.stubs]
    return rest == list(before.stubs.items())


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name)


def _not_restored(before: Baseline, found: Baseline) -> NotRestoredError:
    def parts() -> Iterator[str]:
        yield from () if found.stubs == before.stubs else ("stubs",)
        yield from () if found.scenarios == before.scenarios else ("states of scenarios",)
        yield from () if found.settings == before.settings else ("global settings",)

    return NotRestoredError(
        "WireMock cannot be made as it was before a test.",
        why=f"it was sent what it held, and holds other {' and '.join(parts()) or 'stubs'} even so",
    )
