"""Shared memory: what a killed Postgres leaves of it stays until somebody removes it.

A System V segment says in its head which data directory it belongs to, by device and inode, and
which POSIX objects, files in ``/dev/shm``, are the server's. By this PostgreSQL itself knows what
it may remove when it starts again. Process ids prove nothing: the server may have had a pid
namespace of its own, and what ``initdb`` runs notes them otherwise.
"""

from __future__ import annotations

import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring

if TYPE_CHECKING:
    import ctypes
    import os
    from collections.abc import Iterator

_SEGMENTS, _OBJECTS = Path("/proc/sysvipc/shm"), Path("/dev/shm")
_ID, _SIZE, _ATTACHED, _USER = 1, 3, 6, 7
_IPC_RMID, _READ_ONLY = 0, 0o10000
# PGShmemHeader: magic, creator's pid, sizes, the object that lists others, device and inode.
_HEAD, _HEAD_MAGIC = struct.Struct("=iiQQI12xQQ"), 679834894
# dsm_control_header, and the beginning of each dsm_control_item: its handle and who uses it.
_LIST, _LIST_MAGIC = struct.Struct("=III4x"), 0x9A503D32
_ITEM = struct.Struct("=II32x")


def release(directory: Path) -> None:
    """Remove what killed servers whose data is in a directory have left; one that ends has not.

    Args:
        directory: A local server's directory, which berth has provably made.
    """
    if not _SEGMENTS.exists():
        return
    for path in directory.glob("*/postmaster.pid"):
        with ignoring(FileNotFoundError, why=f"{path.parent} is gone"):
            data = path.parent.lstat()
            if stat.S_ISDIR(data.st_mode):
                _release_of(data)


def _release_of(data: os.stat_result) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.shmat.restype = ctypes.c_void_p
    for line in _SEGMENTS.read_text().splitlines()[1:]:
        fields = line.split()
        is_free = int(fields[_ATTACHED]) == 0 and int(fields[_USER]) == data.st_uid
        if not is_free or int(fields[_SIZE]) < _HEAD.size:
            continue
        number = int(fields[_ID])
        magic, _, _, _, listed, device, inode = _HEAD.unpack(_head(library, number))
        if (magic, device, inode) == (_HEAD_MAGIC, data.st_dev, data.st_ino):
            for each in (*_listed_in(listed, data.st_uid), listed):
                _unlink(_object(each), data.st_uid)
            library.shmctl(number, _IPC_RMID, None)


def _head(library: ctypes.CDLL, number: int) -> bytes:
    """Return the beginning of a segment; nothing but zeros where it is gone, or another's."""
    import ctypes

    address = library.shmat(number, None, _READ_ONLY)
    if address in {None, ctypes.c_void_p(-1).value}:
        return bytes(_HEAD.size)
    try:
        return ctypes.string_at(address, _HEAD.size)
    finally:
        library.shmdt(ctypes.c_void_p(address))


def _listed_in(number: int, user: int) -> Iterator[int]:
    """Yield the objects that are in use, as the one says that lists them."""
    path = _object(number)
    if not _is_file_of(path, user):
        return
    content = path.read_bytes()
    magic, count, most = _LIST.unpack_from(content.ljust(_LIST.size, b"\0"))
    if magic != _LIST_MAGIC or count > most or len(content) < _LIST.size + count * _ITEM.size:
        return
    for at in range(count):
        handle, users = _ITEM.unpack_from(content, _LIST.size + at * _ITEM.size)
        if users:
            yield handle


def _unlink(path: Path, user: int) -> None:
    if _is_file_of(path, user):
        with ignoring(OSError, why=f"{path} is gone"):
            path.unlink()


def _is_file_of(path: Path, user: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == user


def _object(number: int) -> Path:
    return _OBJECTS / f"PostgreSQL.{number}"
