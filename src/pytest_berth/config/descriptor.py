"""The descriptor of a service: what is known of a kind of server before any test needs one.

It is always loaded, also where no test needs a server, so this module and what it imports are few.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.config import common_options as common
from pytest_berth.errors import BerthError, MissingExtraError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_berth.api import Backend
    from pytest_berth.config.options import Option, Settings


class Marker(NamedTuple):
    """A service's marker, ``@pytest.mark.berth_<prefix>``.

    Attributes:
        signature: A function of that name whose arguments are the marker's.
        line: How ``pytest --markers`` tells of it.
        values: What an argument may be, where that is one of a few words; ``scope`` is known.
    """

    signature: Callable[..., Any]
    line: str
    values: Mapping[str, Sequence[str]] = MappingProxyType({})

    @property
    def name(self) -> str:
        """Name of the marker: ``"berth_redis"``."""
        return self.signature.__name__


class Dedicated(NamedTuple):
    """How a test asks for something of its own, and which fixtures it gets then.

    Attributes:
        option: The option that asks for it; the marker's argument is its name's last part.
        value: The value that does.
        fixtures: What each fixture is replaced by.
    """

    option: Option[str]
    value: str
    fixtures: Mapping[str, str]


class FromCompose(NamedTuple):
    """What a service takes from a project's Compose file, where an image there is one of its own.

    Attributes:
        images: Names of images, without registry and tag, that it can run: ``postgis/postgis``.
        alike: Those that it stands in for, with an image of its own.
        environment: The options that variables of these images set.
        setting_of: Returns the server's setting that a variable stands for, which `settings` takes;
            nothing where it makes no difference here, None where it stands for none.
        accounts: Variables for accounts and names, in whose place berth has its own.
        without_effect: Further variables, or ``command``, which make no difference here.
        defaults: Options that have the value of another one where no variable sets them.
        init_scripts: The option that takes the SQL files of ``/docker-entrypoint-initdb.d``.
        settings: The option that takes the server's own settings: ``-c name=value``,
            ``--name=value``, ``--name value``.
        scope: The option that says who shares a server.
        alone_with: The option with which each worker needs a server for itself.
    """

    images: Sequence[str]
    alike: Sequence[str] = ()
    environment: Mapping[str, Option[Any]] = {}
    setting_of: Callable[[str], str | None] | None = None
    accounts: Sequence[str] = ()
    without_effect: Sequence[str] = ()
    defaults: Mapping[Option[Any], Option[Any]] = {}
    init_scripts: Option[Any] | None = None
    settings: Option[Any] | None = None
    scope: Option[str] | None = None
    alone_with: Option[Any] | None = None


class Service:
    """A kind of server: what is known of it before any test needs one.

    Args:
        name: ``"memcached"``.
        backend: Where its `Backend` is: ``"berth_memcached.backend:Memcached"``; or what makes it.
        prefix: What its settings, fixtures, markers and placeholders begin with; its name when left
            out.
        label: Its name as people write it.
        noun: What its server is called.
        version: The default of ``berth_<prefix>_version``, or that option.
        image: The default of ``berth_<prefix>_image``, or that option.
        schemes: The schemes of ``berth_<prefix>_url``: first that of the servers which berth
            starts; *name* when left out.
        url: That option, where it takes more than scheme, account, host and port.
        source: The option ``berth_<prefix>_source``.
        settings: The option ``berth_<prefix>_settings``; without one there is none.
        scope: The default of ``berth_<prefix>_scope``, or that option; ``worker`` for a service in
            which workers cannot be kept apart.
        port: The option ``berth_<prefix>_port``.
        options: Further options, and the order of all where it matters: those that are not among
            them come first.
        extra: The extra of pytest-berth that brings its packages, for services of pytest-berth.
        packages: The modules of its client, which must be there.
        fixtures: Names of its own fixtures, besides ``<prefix>_server`` and ``<prefix>_url``.
        fixture_module: The module that has them.
        needs: Names of fixtures whose values `Backend.open` is given.
        address: The last part of the name of the fixture ``<prefix>_url``.
        address_help: What that fixture's documentation says first.
        placeholders: Names of the values that ``berth_export`` may use.
        further_placeholders: Returns the names of those that depend on the settings.
        marker: Its marker; the usual one has the argument ``scope``.
        dedicated: How a test gets something of its own where that is not a server.
        snapshots: Whether the data of an initialised server is worth keeping.
        reusable: Whether `Backend.reset_server` cleans so well that a later run can have it.
        compose: What it takes from a project's Compose file.
        depends_on: The services that are ready before it, in containers as it is, by the names
            under which it finds them on a network.
        claims: Whether `Backend.placeholders` takes something that `Backend.release` gives back.
        usual_start: Seconds that a start takes, roughly: the slowest service is begun first, and
            the modules that need it come last.
    """

    def __init__(
        self,
        name: str,
        backend: str | Callable[[Service], Backend],
        *,
        prefix: str = "",
        label: str = "",
        noun: str = "server",
        version: str | Option[str] = "",
        image: str | Option[str] = "",
        schemes: Sequence[str] = (),
        url: Option[str] | None = None,
        source: Option[str] | None = None,
        settings: Option[tuple[str, ...]] | None = None,
        scope: str | Option[str] = common.RUN,
        port: Option[int] | None = None,
        options: Sequence[Option[Any]] = (),
        extra: str = "",
        packages: Sequence[str] = (),
        fixtures: Collection[str] = (),
        fixture_module: str = "",
        needs: Sequence[str] = (),
        address: str = "url",
        address_help: str = "",
        placeholders: Collection[str] = (),
        further_placeholders: Callable[[Settings], Collection[str]] | None = None,
        marker: Marker | None = None,
        dedicated: Dedicated | None = None,
        snapshots: bool = False,
        reusable: bool = False,
        compose: FromCompose | None = None,
        depends_on: Mapping[str, Service] | None = None,
        claims: bool = False,
        usual_start: float = 1.0,
    ) -> None:
        prefix = prefix or name
        lists = {"schemes": schemes, "packages": packages, "fixtures": fixtures, "needs": needs}
        for argument, given in lists.items():
            if isinstance(given, str):
                raise TypeError(f"{argument} is a list of names, not {given!r}")
        if not prefix.isidentifier():
            raise ValueError(f"fixtures cannot begin with {prefix!r}: prefix is letters, digits, _")
        if isinstance(backend, str) and not all(backend.partition(":")):
            raise ValueError(f"backend is 'module:class', not {backend!r}")
        for option in options:
            if not option.name.startswith(f"berth_{prefix}_"):
                raise ValueError(f"options begin with berth_{prefix}_, not as {option.name!r} does")
        self.name = name
        self.prefix = prefix
        self.label = label = label or name.capitalize()
        self.noun = noun
        self.version = common.version(prefix, label, version)
        self.image = common.image(prefix, image)
        self.default_image = image if isinstance(image, str) else ""
        self.schemes = tuple(schemes) or (name,)
        self.url = url or common.url(prefix, label, self.schemes)
        self.source = source or common.source(prefix, label)
        self.settings = settings
        self.scope = common.scope(prefix, noun, scope)
        self.port = port or common.port(prefix, noun)
        self.options = self._in_order(options)
        self.extra = extra
        self.packages = tuple(packages)
        self.fixture_module = fixture_module
        self.needs = tuple(needs)
        self.address = f"{prefix}_{address}"
        self.address_help = address_help or f"URL of this worker's namespace on the {noun}."
        self.fixtures = frozenset({f"{prefix}_server", self.address, *fixtures})
        common_placeholders = {self.address, f"{prefix}_host", f"{prefix}_port"}
        self.placeholders = frozenset(placeholders or common_placeholders)
        self._further_placeholders = further_placeholders
        self.marker = marker or _common_marker(prefix, label)
        self.dedicated = dedicated or self._own_server()
        self.snapshots = snapshots
        self.reusable = reusable
        self.compose = compose
        self.depends_on = dict(depends_on or {})
        self.claims = claims
        self.usual_start = usual_start
        self.distribution = ""
        self._made_by = backend
        self._backend: Backend | None = None

    @property
    def isolation(self) -> str:
        """Name of the function-scoped fixture that gives a test its clean slate."""
        return f"_{self.prefix}_isolation"

    @property
    def late_isolation(self) -> str:
        """The same for tests that may ask for fixtures only while they run."""
        return f"_{self.prefix}_late_isolation"

    @property
    def namespace(self) -> str:
        """Name of the session-scoped fixture that opens the worker's namespace."""
        return f"_{self.prefix}_namespace"

    @property
    def backend(self) -> Backend:
        """What launches, asks and opens its servers; imported when first needed.

        Raises:
            MissingExtraError: One of its packages is not installed.
            ServiceError: It cannot be imported for another reason, or lacks what must be there.
        """
        if self._backend is None:
            from pytest_berth.backend_checks import checked_backend

            self._backend = checked_backend(self, self._load())
        return self._backend

    def placeholders_for(self, settings: Settings) -> frozenset[str]:
        """Return the names of all values that ``berth_export`` may use."""
        further = self._further_placeholders
        return self.placeholders.union(further(settings)) if further else self.placeholders

    def missing_package(self) -> BerthError | None:
        """Return the error that one of its packages is not installed; None where all are."""
        from importlib.util import find_spec

        for package in self.packages:
            try:
                found = find_spec(package)
            except ModuleNotFoundError:  # what it is part of is missing
                found = None
            if found is None:
                return self._is_missing(package)
        return None

    def _is_missing(self, package: str) -> BerthError:
        from importlib.metadata import distributions, packages_distributions

        names = (each.metadata["Name"] for each in distributions())
        if package in names and package not in packages_distributions():
            told = ValueError(f"packages names {package!r}: use the name that is imported instead")
            return broken(self.name, self.distribution, told)
        return MissingExtraError(package, self.extra, needed_by=self.name)

    def _load(self) -> Any:
        from importlib import import_module

        if not isinstance(self._made_by, str):
            return self._made_by(self)
        module, _, name = self._made_by.partition(":")
        try:
            return getattr(import_module(module), name)(self)
        except Exception as error:
            package = (getattr(error, "name", None) or "").partition(".")[0]
            if isinstance(error, ImportError) and package in self.packages:
                raise MissingExtraError(package, self.extra, needed_by=self.name) from error
            raise broken(self.name, self.distribution, error) from error

    def _in_order(self, given: Sequence[Option[Any]]) -> tuple[Option[Any], ...]:
        made = (self.version, self.image, self.url, self.source, self.scope, self.port)
        settings = (self.settings,) if self.settings else ()
        names = {option.name for option in given}
        return (*(each for each in (*made, *settings) if each.name not in names), *given)

    def _own_server(self) -> Dedicated:
        begin, address = f"_{self.prefix}_dedicated", self.address[len(self.prefix) + 1 :]
        own = {
            self.namespace: f"{begin}_namespace",
            f"{self.prefix}_server": f"{begin}_server",
            self.address: f"{begin}_{address}",
        }
        return Dedicated(self.scope, common.TEST, own)


def broken(name: str, distribution: str, error: Exception) -> ServiceError:
    """Return the error that a service cannot be loaded, which names who has brought it."""
    origin = f"the distribution {distribution!r} brings it; " if distribution else ""
    return ServiceError(
        f"the service {name!r} cannot be loaded.",
        why=f"{origin}{type(error).__name__}: {error}",
        remedy=f"pip install --upgrade {distribution}, or uninstall it"
        if distribution
        else "reinstall pytest-berth",
    )


def _common_marker(prefix: str, label: str) -> Marker:
    def signature(*, scope: str | None = None) -> Mapping[str, object]:
        return {"scope": scope}

    signature.__name__ = f"berth_{prefix}"
    line = f"berth_{prefix}(scope=None): scope='test' gives the test a {label} server of its own"
    return Marker(signature, line)
