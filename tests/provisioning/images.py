"""Images: the one that is present, the official one, or a stand-in built here."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .standins import FINGERPRINT_LABEL, STAND_IN_LABEL, build, folder_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .engine import Engine
    from .recipes import Recipe

PULL_BUDGET = 60.0
FIRST_WORD = 10.0
UNREACHABLE = ("dial tcp", "no such host", "timeout", "deadline", "refused", "unreachable", "proxy")


@dataclass(frozen=True)
class Image:
    """One image, and how it was had.

    Attributes:
        name: As tests ask for it.
        origin: ``present``, ``pulled``, ``stand-in``, or ``missing``.
        detail: One sentence for the reader.
    """

    name: str
    origin: str
    detail: str


@dataclass
class Registry:
    """The registries, for as long as they answer and seconds of the budget are left."""

    budget: float = PULL_BUDGET
    refusals: dict[str, str] = field(default_factory=dict)
    offline: str = ""

    def pull(self, name: str) -> bool:
        """Pull *name*; on failure the reason is in :meth:`why`."""
        if self.offline or self.budget <= 0:
            return False
        start = time.monotonic()
        failure = _pull(name, self.budget)
        self.budget -= time.monotonic() - start
        if failure is None:
            return True
        self.refusals[name] = failure
        if not failure or any(sign in failure.lower() for sign in UNREACHABLE):
            self.offline = failure or f"the registry said nothing for {FIRST_WORD:g} s"
        return False

    def why(self, name: str) -> str:
        """Say why *name* was not pulled, in one line."""
        reason = self.refusals.get(name) or self.offline
        return reason or f"the {PULL_BUDGET:g} s for pulling were used up"


def get_images(recipes: Sequence[Recipe], engine: Engine) -> list[Image]:
    """Return one entry for each recipe, in their order, having done what can be done."""
    registry = Registry()
    return [_get(recipe, engine, registry) for recipe in recipes]


def _get(recipe: Recipe, engine: Engine, registry: Registry) -> Image:
    labels = _labels(recipe.image)
    if labels is not None and STAND_IN_LABEL not in labels:
        return Image(recipe.image, "present", "the official image, or one named so, is here")
    if labels is not None and labels.get(FINGERPRINT_LABEL) == recipe.fingerprint:
        return _stand_in(recipe, "it is here since an earlier run")
    if labels is None and registry.pull(recipe.image):
        return Image(recipe.image, "pulled", "pulled from its registry")
    return _built(recipe, engine, registry)


def _built(recipe: Recipe, engine: Engine, registry: Registry) -> Image:
    reason = registry.why(recipe.image)
    try:
        build(recipe, engine, registry.pull)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        output = getattr(error, "output", None) or ""
        detail = f"not pulled: {reason}; no stand-in: {error}\n{output[-1500:]}".rstrip()
        return Image(recipe.image, "missing", detail)
    return _stand_in(recipe, reason)


def _stand_in(recipe: Recipe, reason: str) -> Image:
    sentence = (
        f"{recipe.image} is a stand-in built from {folder_name(recipe)}: "
        f"the official image is neither present nor could be pulled ({reason})"
    )
    return Image(recipe.image, "stand-in", sentence)


def _labels(name: str) -> dict[str, str] | None:
    """Return the labels of the image *name*, or None if it is not there."""
    found = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    return (json.loads(found.stdout) or {}) if found.returncode == 0 else None


def _pull(name: str, budget: float) -> str | None:
    """Return None when it was pulled, else the reason; '' when there was no answer at all."""
    pull = subprocess.Popen(
        ["docker", "pull", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        return _finish(pull, budget)
    except subprocess.TimeoutExpired as late:
        pull.kill()
        pull.communicate()
        return f"not complete after {budget:.0f} s: timeout" if late.output else ""


def _finish(pull: subprocess.Popen[str], budget: float) -> str | None:
    """An engine that reaches its registry names the tag at once; the layers may take longer."""
    try:
        _, errors = pull.communicate(timeout=min(FIRST_WORD, budget))
    except subprocess.TimeoutExpired as silent:
        if not _progressed(silent):
            raise
        _, errors = pull.communicate(timeout=max(budget - FIRST_WORD, 0.1))
    return None if pull.returncode == 0 else errors.strip() or f"exit code {pull.returncode}"


def _progressed(late: subprocess.TimeoutExpired) -> bool:
    return b"Pulling" in (late.output or b"")
