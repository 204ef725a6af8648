"""Errors of an engine: ours, of requests over its socket, and docker-py's, where that is loaded.

What catches them calls a function of this module in its ``except``, which Python does only when
something was raised: so docker-py is not imported for an error that does not happen.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any, TypeAlias

Kinds: TypeAlias = tuple[type[Any], ...]


class EngineError(Exception):
    """The engine has refused a request, or has not answered it.

    Attributes:
        status_code: What it answered with; 0 where it did not answer.
        explanation: Its own words.
    """

    def __init__(self, status_code: int, explanation: str) -> None:
        super().__init__(explanation)
        self.status_code = status_code
        self.explanation = explanation


class RefusedError(EngineError):
    """The engine has refused a request."""


class NotFoundError(RefusedError):
    """The engine does not know what it was asked about."""


def refused(status_code: int, explanation: str) -> RefusedError:
    """Return the error of an answer."""
    kind = NotFoundError if status_code == HTTPStatus.NOT_FOUND else RefusedError
    return kind(status_code, explanation)


def not_found() -> Kinds:
    """Return the errors that say that the engine does not know what it was asked about."""
    return (NotFoundError, *_loaded("docker.errors", "NotFound"))


def api() -> Kinds:
    """Return the errors that say that the engine has refused a request; each has a status."""
    return (RefusedError, *_loaded("docker.errors", "APIError"))


def any_of_client() -> Kinds:
    """Return the errors of docker-py, and of an engine that has refused a request."""
    return (RefusedError, *_loaded("docker.errors", "DockerException"))


def any_of_engine() -> Kinds:
    """Return these, and the errors of an engine that does not answer."""
    return (EngineError, *any_of_client(), *_loaded("requests.exceptions", "RequestException"))


def _loaded(module: str, name: str) -> Kinds:
    return (getattr(sys.modules[module], name),) if module in sys.modules else ()
