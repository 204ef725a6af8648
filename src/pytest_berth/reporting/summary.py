"""The summary of a run, with ``-v`` or ``berth_summary``: what took how long, and what stays.

It is made of the run's timeline, and of the tests' reports.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

from pytest_berth.config.options import KEEP, SNAPSHOTS
from pytest_berth.reporting import kept_summary
from pytest_berth.run.reuse import records
from pytest_berth.sources import snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_berth.api import Server
    from pytest_berth.config.options import Settings
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.run.timeline import Event

_PARTS = ("choose", "download", "launch", "answer")
_MOST = 5
_SHOWN = 15


def lines(berth: PluginState) -> Iterator[str]:
    """Yield the lines of the summary."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in berth.run.timeline.events:
        found[event.what].append(event)
    told: dict[str, Iterable[str]] = {
        "starts": _starts(found),
        "schema": _schema(found),
        "clones": _clones(found),
        "isolation": _isolation(found),
        "put back": _put_back(found),
        "schema changes": map(_of_test, found["schema"]),
        "rebuilt": map(_of_test, found["rebuild"]),
        "stays": _stays(berth),
    }
    for title, texts in told.items():
        for text in bounded(list(texts), _SHOWN):
            yield f"{title:15}{text}"
            title = ""


def bounded(texts: Sequence[str], most: int) -> Sequence[str]:
    """Return the first texts, and how many are left out."""
    left = len(texts) - most
    return texts if left <= 0 else [*texts[:most], f"... {left} more"]


def times_per_test(events: Iterable[Event]) -> dict[tuple[str, str], list[float]]:
    """Return the seconds that isolating each test took, by service and kind of isolation."""
    begun: dict[tuple[str, str, str], float] = {}
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        place = event.service, event.worker, event.test
        if event.what == "set up":
            begun[place] = event.took
        elif event.what == "clean up":
            found[event.service, event.detail].append(begun.pop(place, 0.0) + event.took)
    return found


def percentile(times: Sequence[float], share: float) -> float:
    """Return the time that a share of all does not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def dirty(events: Iterable[Event]) -> dict[str, Counter[str]]:
    """Return how often tests have changed a table, a number or a topic, by service."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        found[event.service].update(event.items)
    return found


def seconds(took: float) -> str:
    """Return a time for people."""
    return f"{took:.2f} s" if took >= 1 else f"{took * 1000:.3g} ms"


def _starts(found: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    for start in sorted((*found["start"], *found["reattach"]), key=lambda each: each.start):
        parts = [
            f"{part.what} {seconds(part.took)}"
            for what in _PARTS
            for part in found[what]
            if _is_part(part, start) and part.took >= 0.001
        ]
        told = f"{seconds(start.took)}, from {start.start:.1f} s on, {start.detail}"
        failed = ", failed" if start.failed else ""
        yield f"{start.service} {told}{failed}{': ' if parts else ''}{', '.join(parts)}"


def _is_part(part: Event, start: Event) -> bool:
    """Tell whether an event was part of a start: it was its service's, in the same process.

    A source is chosen, and what it lacks is downloaded, before the start.
    """
    same = (part.service, part.worker) == (start.service, start.worker)
    if part.what in {"choose", "download"}:
        return same and part.start <= start.end
    return same and start.start <= part.start <= start.end


def _schema(found: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    for template in found["template"]:
        yield f"{template.service} {seconds(template.took)}: {template.detail}"
    slowest = sorted(found["step"], key=lambda step: -step.took)[:_MOST]
    for step in slowest:
        yield f"{seconds(step.took)} {step.detail}"


def _clones(found: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    times = [each.took for each in found["clone"]]
    if times:
        yield f"{len(times)}, {seconds(median(times))} each (median)"


def _isolation(found: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    ends = sorted((*found["set up"], *found["clean up"]), key=lambda each: each.start)
    times = times_per_test(ends)
    for (service, kind), of_kind in sorted(times.items()):
        middle, most = percentile(of_kind, 0.5), percentile(of_kind, 0.95)
        tests = f"{len(of_kind)} test{'s' * (len(of_kind) != 1)}"
        yield f"{service} {kind}: {tests}, p50 {seconds(middle)}, p95 {seconds(most)} per test"


def _put_back(found: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    for service, counted in sorted(dirty(found["clean up"]).items()):
        often = counted.most_common(_MOST)
        if often:
            yield f"{service}: {', '.join(f'{name} {times}' for name, times in often)}"


def _of_test(event: Event) -> str:
    where = f" ({event.test})" if event.test and event.test not in event.detail else ""
    return f"{event.service}: {event.detail}{where}"


def _stays(berth: PluginState) -> Iterator[str]:
    for server in berth.served:
        why = _why_it_stays(berth, server)
        if why:
            yield f"{server.key}: {why}"


def _why_it_stays(berth: PluginState, server: Server) -> str:
    settings = berth.settings
    if server.reuse_record:
        for_what = _what_it_is_kept_for(settings, server)
        return f"the server, for {for_what}; pytest --berth-stop ends it" if for_what else ""
    if server.source == "external":
        return "the server, which is not berth's; what this run has made there goes"
    service = next(each for each in berth.services if each.name == server.service)
    if server.snapshot and snapshots.wanted(settings, service):
        return f"a snapshot, which later runs start from ({settings.given(SNAPSHOTS)})"
    return ""


def _what_it_is_kept_for(settings: Settings, server: Server) -> str:
    """Tell what a server with a record stays for; nothing where it ends with this run."""
    record = records.Records(records.place()).read(server.reuse_record)
    for_what = []
    if settings[KEEP] or (record and record.lasts):
        why = settings.given(KEEP) if settings[KEEP] else "berth_keep of an earlier run"
        for_what.append(f"the next run ({why})")
    if record and record.holds_kept_state:
        until = kept_summary.local_time(record.kept_until)
        for_what.append(f"what is kept of failed tests (--berth-keep-failed, until {until})")
    return " and ".join(for_what)
