"""What a failing test's report tells of WireMock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_berth.services.wiremock.received_request import differences, received
from pytest_berth.services.wiremock.restore import Baseline, describe
from pytest_berth.shown_values import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_berth.services.wiremock.restore import Stubs
    from pytest_berth.services.wiremock.shared_stubs import Place

_MOST = 10


def changes(stubs: Stubs, before: Baseline | None) -> Sequence[str]:
    """Return a line for each stub, scenario and setting that is another one, and each request.

    Args:
        stubs: The worker's part of the server.
        before: What there was when the test began; None where that is not known.
    """
    earlier, now = before or Baseline(), stubs.look(Baseline())
    return [*_stub_changes(earlier, now, stubs.place), *_state_changes(earlier, now), *_told(stubs)]


def unmatched(stubs: Stubs) -> Sequence[str]:
    """Return the requests that no stub has answered, with the nearest stub of each."""
    admin, place = stubs.admin, stubs.place
    told = admin.get("/requests/unmatched")["requests"]
    own = [each for each in told if f"{each['url']}/".startswith(f"{place.path}/")]
    if not own:
        return ()
    near: dict[str, Any] = {}
    for each in admin.get("/requests/unmatched/near-misses")["nearMisses"]:
        if place.owns(each.get("stubMapping", {})):
            near.setdefault(_key(each["request"]), each["stubMapping"])
    lines: list[str] = []
    for each in sorted(own, key=lambda each: int(each["loggedDate"]))[:_MOST]:
        lines += _unmatched(each, near.get(_key(each)), place)
    if len(own) > _MOST:
        lines.append(f"and {len(own) - _MOST} further requests matched no stub")
    return lines


def audited(found: Baseline, place: Place) -> Mapping[str, str | None]:
    """Return what a test must leave as it was, as a text by name."""
    texts: dict[str, str | None] = {
        f"stub {describe(stub, place)} ({stub_id[:8]})": _body(stub)
        for stub_id, stub in found.stubs.items()
    }
    texts |= {f"scenario {name}": state for name, state in found.scenarios.items()}
    return {**texts, "global settings": json.dumps(found.settings, sort_keys=True)}


def _stub_changes(before: Baseline, now: Baseline, place: Place) -> Iterator[str]:
    for each, stub in now.stubs.items():
        if each not in before.stubs:
            yield f"+ stub {describe(stub, place)}: {_body(stub)}"
        elif before.stubs[each] != stub:
            yield f"~ stub {describe(stub, place)}: {_body(stub)}, was {_body(before.stubs[each])}"
    for each, stub in before.stubs.items():
        if each not in now.stubs:
            yield f"- stub {describe(stub, place)}"


def _state_changes(before: Baseline, now: Baseline) -> Iterator[str]:
    for name, state in now.scenarios.items():
        was = before.scenarios.get(name, "Started")
        if was != state:
            yield f"~ scenario {name}: {state}, was {was}"
    if before.settings != now.settings and before.answers:
        yield f"~ global settings: {shown(now.settings)}, was {shown(before.settings)}"


def _told(stubs: Stubs) -> Iterator[str]:
    pattern = stubs.place.own_request({"method": "ANY"})
    found = stubs.admin.post("/requests/find", pattern)["requests"]
    newest = sorted(found, key=lambda each: int(each["loggedDate"]))[-_MOST:]
    if len(found) > len(newest):
        yield f"received {len(found)} requests, at last:"
    for each in newest:
        yield f"received {received(each, stubs.place)}"


def _body(stub: Mapping[str, Any]) -> str:
    response = dict(stub.get("response", {}))
    status = response.pop("status", 200)
    bodies = (response[name] for name in ("jsonBody", "body", "bodyFileName") if name in response)
    return " ".join([str(status), *(shown(each) for each in bodies)])


def _unmatched(
    request: Mapping[str, Any], nearest: Mapping[str, Any] | None, place: Place
) -> Iterator[str]:
    sent = received(request, place)
    if nearest is None:
        yield f"no stub answers {sent}: there is none"
        return
    yield f"no stub answers {sent}; the nearest one is {describe(nearest, place)}:"
    for each in differences(nearest.get("request", {}), sent, place):
        yield f"  {each}"


def _key(request: Mapping[str, Any]) -> str:
    return f"{request['loggedDate']} {request['method']} {request['url']}"
