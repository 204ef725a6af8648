"""What berth would take without one of its shortcuts: functions are replaced that find nothing."""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

WITHOUT = [each.split(":") for each in os.environ["BENCHMARK_WITHOUT"].split()]


class Without(MetaPathFinder):
    """Replaces functions when their module is imported, and not before: imports take time."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        names = [name for module, name in WITHOUT if module == fullname]
        found = (
            finder.find_spec(fullname, path, target)
            for finder in sys.meta_path
            if names and finder is not self
        )
        spec = next(filter(None, found), None)
        if spec:
            loader: Any = spec.loader
            execute = loader.exec_module

            def replaced(module: ModuleType) -> None:
                execute(module)
                for name in names:
                    *owners, last = name.split(".")
                    owner: Any = module
                    for each in owners:
                        owner = getattr(owner, each)
                    assert callable(getattr(owner, last))
                    setattr(owner, last, lambda *_, **__: None)

            loader.exec_module = replaced
        return spec


sys.meta_path.insert(0, Without())
