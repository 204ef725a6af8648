"""Tells the slips of a service's author: what is missing, raised or returned amiss.

Each method that berth calls is put under a check: what it raises, besides berth's own errors, and
what it returns, if it is not what is expected, becomes a `ServiceError` that names the service, its
distribution and the method.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from functools import partial, wraps
from inspect import iscoroutine, isgenerator, unwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.api import (
    Backend,
    Container,
    Credentials,
    LocalProcess,
    Namespace,
    Server,
)
from pytest_berth.errors import BerthError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_berth.api import Service


class _Expected(NamedTuple):
    """What a method returns.

    Attributes:
        what: The same in words.
        is_right: Tells whether a value is that.
    """

    what: str
    is_right: Callable[[Any], bool] = lambda value: True


def _is_list(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")


def _is_container(value: Any) -> bool:
    return isinstance(value, Container) and _is_list(value.command)


def _is_process(value: Any) -> bool:
    return (
        isinstance(value, LocalProcess)
        and bool(value.command)
        and all(map(_is_list, (value.command, value.prepare, *value.prepare)))
    )


def _is_mapping(value: Any) -> bool:
    return hasattr(value, "keys") and hasattr(value, "__getitem__")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_errors(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(each, type) and issubclass(each, Exception) for each in value
    )


_BACKEND: Mapping[str, _Expected] = {
    "account": _Expected("Credentials", lambda value: isinstance(value, Credentials)),
    "image": _Expected("the name of an image", _is_text),
    "container": _Expected("a Container, whose command is a list of arguments", _is_container),
    "local_obstacle": _Expected(
        "None, or the error that says why not",
        lambda value: value is None or isinstance(value, BerthError),
    ),
    "local": _Expected("a LocalProcess, whose command is a list of arguments", _is_process),
    "local_identity": _Expected("a list of texts", _is_list),
    "external": _Expected(
        "a Server, or None", lambda value: value is None or isinstance(value, Server)
    ),
    "server_at": _Expected("a Server", lambda value: isinstance(value, Server)),
    "url": _Expected("a URL", _is_text),
    "placeholders": _Expected("values by the names of placeholders", _is_mapping),
    "probe": _Expected("the version, or NotReadyError as long as nothing answers", _is_text),
    "connection_errors": _Expected("a tuple of exceptions' classes", _are_errors),
    "check": _Expected("nothing, or SettingsError"),
    "describe_isolation": _Expected("a text", _is_text),
    "own_log": _Expected("a text", lambda value: isinstance(value, str)),
}
_NAMESPACE: Mapping[str, _Expected] = {
    "reset": _Expected("nothing, once it is empty"),
    "capture": _Expected("everything that it holds, by key", _is_mapping),
    "restore": _Expected("nothing, once it holds what is given"),
    "reopen": _Expected("nothing, once it is connected to the new server"),
    "sweep": _Expected("nothing"),
}
_OPEN = "a context manager that yields a Namespace"


def checked_backend(service: Service, made: Any) -> Backend:
    """Return a service's backend, each of whose methods tells of its slips.

    Raises:
        ServiceError: It is no `Backend`, or lacks what must be there.
    """
    if not isinstance(made, Backend):
        name = getattr(made, "__name__", type(made).__name__)
        raise _slip(service, f"{name} is no pytest_berth.api.Backend.", expected="a subclass of it")
    missing = [name for name in ("probe", "open") if _lacks(made, Backend, name)]
    if made.program and _lacks(made, Backend, "local"):
        missing.append("local")
    if all(_lacks(made, Backend, name) for name in ("container", "local")):
        missing.append("container")
    if missing:
        expected = "; ".join(f"{each}() returns {_returned(each)}" for each in missing)
        raise _slip(service, f"{type(made).__name__} has no {missing[0]}().", expected=expected)
    _check_methods(service, made, _BACKEND)
    made.open = partial(_opened, service, made, made.open)  # type: ignore[method-assign]
    return made


@contextmanager
def _opened(
    service: Service, backend: Backend, opens: Callable[..., Any], *args: Any
) -> Iterator[Namespace]:
    passed = backend.connection_errors()
    name = f"{type(backend).__name__}.open()"
    with _told(service, opens, name, _OPEN, passed):
        manager = opens(*args)
        if isgenerator(manager) or not hasattr(manager, "__enter__"):
            hint = "@contextmanager is missing; " if isgenerator(manager) else ""
            raise _wrong(service, opens, name, manager, f"{hint}{_OPEN}")
        with manager as namespace:
            _check_namespace(service, opens, name, namespace, passed)
            yield namespace


def _check_namespace(
    service: Service,
    opens: Callable[..., Any],
    name: str,
    namespace: Any,
    passed: tuple[type[Exception], ...],
) -> None:
    if not isinstance(namespace, Namespace):
        raise _wrong(service, opens, name, namespace, _OPEN)
    kind = type(namespace).__name__
    if not _is_text(namespace.url):
        problem = f"the url of {kind}, which {name} has yielded, is {namespace.url!r}."
        raise _slip(service, problem, expected=f"what the fixture {service.address} gives to tests")
    needed = ["capture", "restore"] if namespace.restores else ["reset"]
    missing = [each for each in needed if _lacks(namespace, Namespace, each)]
    if missing and _lacks(namespace, Namespace, "isolate"):
        also = " beside restores = True" if namespace.restores else ", capture() or isolate()"
        expected = f"{missing[0]}() returns {_NAMESPACE[missing[0]].what}"
        raise _slip(service, f"{kind} has no {missing[0]}(){also}.", expected=expected)
    _check_methods(service, namespace, _NAMESPACE, passed)


def _check_methods(
    service: Service,
    made: Any,
    methods: Mapping[str, _Expected],
    passed: tuple[type[Exception], ...] = (),
) -> None:
    """Put methods under a check, of this object alone."""
    for name, expected in methods.items():
        told = f"{type(made).__name__}.{name}()"
        setattr(made, name, _checked(service, told, getattr(made, name), expected, passed))


def _checked(
    service: Service,
    name: str,
    method: Callable[..., Any],
    expected: _Expected,
    passed: tuple[type[Exception], ...],
) -> Callable[..., Any]:
    @wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        with _told(service, method, name, expected.what, passed):
            value = method(*args, **kwargs)
        if iscoroutine(value):
            value.close()
            raise _wrong(service, method, name, value, "a function that is not async")
        if not expected.is_right(value):
            raise _wrong(service, method, name, value, expected.what)
        return value

    return checked


@contextmanager
def _told(
    service: Service,
    method: Callable[..., Any],
    name: str,
    expected: str,
    passed: tuple[type[Exception], ...],
) -> Iterator[None]:
    """Raise a clear error in place of one that is not berth's, and that nobody expects."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (BerthError, *passed)):
            raise
        raise _slip(
            service,
            f"{name} has raised {type(error).__name__}: {error}",
            where=_raised_at(error, method),
            expected=expected,
        ) from error


def _wrong(
    service: Service, method: Callable[..., Any], name: str, value: Any, expected: str
) -> ServiceError:
    code = getattr(unwrap(method), "__code__", None)
    where = f"{code.co_filename}, line {code.co_firstlineno}" if code else ""
    shown = repr(value)[:200]
    return _slip(service, f"{name} has returned {shown}.", where=where, expected=expected)


def _slip(service: Service, problem: str, *, expected: str, where: str = "") -> ServiceError:
    origin = f"the distribution {service.distribution!r}" if service.distribution else ""
    place = f"in {where}" if where else ""
    brings = f"{origin} brings it" if origin else ""
    return ServiceError(
        f"the service {service.name!r} cannot be used: {problem}",
        why="\n".join(filter(None, [place, f"expected: {expected}", brings])),
        remedy=f"mend it there, or tell those who maintain {origin or 'pytest-berth'}",
    )


def _raised_at(error: Exception, method: Callable[..., Any]) -> str:
    """Return where an error was raised: the last line of the method's own file."""
    code = getattr(unwrap(method), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"


def _lacks(made: object, base: type, name: str) -> bool:
    return getattr(type(made), name) is getattr(base, name)


def _returned(name: str) -> str:
    return _OPEN if name == "open" else _BACKEND[name].what
