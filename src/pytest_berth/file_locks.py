"""Locks on files, which are let go even while a test replaces what Python opens files with.

A thread that starts a server works beside tests. What fakes a file system, or the clock, replaces
functions for all threads of the process: a lock could be taken on a real file and let go on a fake
one, and would be held for ever. So what is called here was taken when this module was imported.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from pytest_berth.errors import RunEndedError, TimedOutError
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import FileLock

_MOST = 3600.0
# Seconds that a number is waited for.
_SOON = 0.05
if sys.platform != "win32":
    import fcntl

    _REAL = SimpleNamespace(
        open=os.open,
        close=os.close,
        stat=os.fstat,
        read=os.pread,
        write=os.pwrite,
        cut=os.ftruncate,
        lock=fcntl.flock,
    )


class LockHeldError(TimeoutError):
    """Somebody else holds a lock, and it is not waited for, or not any longer."""


@contextmanager
def locked(path: Path, *, blocking: bool = True, within: float = _MOST) -> Iterator[None]:
    """Hold the lock on a file, which is made; its directory has to be there.

    Args:
        path: The file.
        blocking: Whether to wait for whoever holds it.
        within: Seconds to wait.

    Raises:
        RunEndedError: The directory is gone.
        TimedOutError: Somebody has held it all that time.
        LockHeldError: Somebody holds it, and *blocking* is false.
    """
    if sys.platform == "win32":
        lock = _acquired(path, within if blocking else 0.0)
        try:
            yield
        finally:
            lock.release()
    else:
        descriptor = _open(path)
        try:
            _take(descriptor, path, within if blocking else None)
            yield
        finally:
            # Said, too, as a process that a test has forked may have the descriptor as well.
            _REAL.lock(descriptor, fcntl.LOCK_UN)
            _REAL.close(descriptor)


class HeldLock:
    """A lock on a file that is held as long as this object, or the process, lives.

    Args:
        path: The file, which is made; its directory has to be there.

    Raises:
        LockHeldError: Somebody holds it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        if sys.platform == "win32":
            self._lock = _acquired(path, 0.0)
        else:
            self._descriptor = _open(path)
            _take(self._descriptor, path, None)

    def release(self) -> None:
        """Let it go; where a test has forked a process meanwhile, it stays held as long as that."""
        if sys.platform == "win32":
            self._lock.release()
        elif self._descriptor is not None:
            _REAL.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        """Let it go, unless a process that a test has forked does so: there, it stays held."""
        if self._descriptor is not None:
            _REAL.close(self._descriptor)


class SharedNumber:
    """A number in a file that processes read, and add to, in turns; 0 at first.

    It is held for moments only: where it is not had soon, it is not known.

    Args:
        path: The file, which is made; its directory has to be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def read(self) -> Iterator[int | None]:
        """Yield the number, to which nobody adds meanwhile; None where it is not known."""
        with _held(self._path, alone=False) as descriptor:
            yield None if descriptor is None else _number(descriptor)

    @contextmanager
    def add(self, number: int) -> Iterator[None]:
        """Add to the number when the context is left; nobody reads it meanwhile."""
        with _held(self._path, alone=True) as descriptor:
            yield
            if descriptor is not None:
                _REAL.write(descriptor, f"{_number(descriptor) + number:020}".encode(), 0)


def _number(descriptor: int) -> int:
    return int(_REAL.read(descriptor, 20, 0) or 0)


@contextmanager
def _held(path: Path, *, alone: bool) -> Iterator[int | None]:
    if sys.platform == "win32":
        yield None
    else:
        descriptor = _open(path)
        try:
            yield descriptor if _is_soon_taken(descriptor, alone=alone) else None
        finally:
            _REAL.lock(descriptor, fcntl.LOCK_UN)
            _REAL.close(descriptor)


if sys.platform == "win32":

    def _acquired(path: Path, within: float) -> FileLock:
        from filelock import FileLock, Timeout

        lock = FileLock(path, timeout=within)
        try:
            lock.acquire()
        except Timeout as error:
            raise LockHeldError(str(error)) from None
        return lock

else:

    def _is_soon_taken(descriptor: int, *, alone: bool) -> bool:
        try:
            wait_for(
                lambda: _is_taken(descriptor, alone=alone),
                _SOON,
                interval=0.0002,
                max_interval=0.002,
            )
        except TimeoutError:
            return False
        return True

    def _open(path: Path) -> int:
        try:
            descriptor: int = _REAL.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise RunEndedError from None
        return descriptor

    def _take(descriptor: int, path: Path, within: float | None) -> None:
        if not _is_taken(descriptor):
            if within is None:
                raise LockHeldError(f"{path} is locked")
            _wait(descriptor, path, within)
        if not _REAL.stat(descriptor).st_nlink:
            raise RunEndedError
        holder = f"process {os.getpid()}, {threading.current_thread().name}"
        _REAL.cut(descriptor, 0)
        _REAL.write(descriptor, holder.encode(), 0)

    def _wait(descriptor: int, path: Path, within: float) -> None:
        try:
            wait_for(lambda: _is_taken(descriptor), within, max_interval=0.05)
        except TimeoutError:
            holder = _REAL.read(descriptor, 200, 0).decode(errors="replace")
            raise TimedOutError(
                f"{path.name} was locked by another process for {within:g} s.",
                why=f"{path} is held by {holder or 'one that has not said who it is'}",
                remedy="end that process where it hangs, and run again",
            ) from None

    def _is_taken(descriptor: int, *, alone: bool = True) -> bool:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        try:
            _REAL.lock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
