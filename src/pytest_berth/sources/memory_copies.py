"""Data of a container that is in memory, and yet becomes a snapshot: it is copied in and out.

An engine makes an image of what a container has on disk, and of nothing that it has in memory,
where a server starts and works faster. So the container's first process copies the data of the
snapshot into memory before the server starts, and out of it when that has ended, if asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds that a server has to end, and its data to be copied out: less than an engine's answer may
# take. What is not copied by then is no snapshot.
STOPS_WITHIN = 50
# Where it is, this tells the first process to copy the data out.
REQUEST = "/berth/store"
_STORED = "/berth/stored"
_END_OF_DIRECTORIES = "--"
# What the shell starts in the background would ignore SIGINT, were it not to say otherwise itself,
# as PostgreSQL does. A signal ends the first `wait`, not the server.
_FIRST_PROCESS = f"""
directories=
while [ "$1" != {_END_OF_DIRECTORIES} ]; do directories="$directories $1"; shift; done
shift
for directory in $directories; do
    stored={_STORED}$directory
    if [ -d "$stored" ]; then cp -a "$stored/." "$directory" || exit; fi
done
server=
for signal in HUP INT QUIT TERM; do trap "kill -s $signal \\$server" $signal; done
"$@" &
server=$!
while wait "$server"; status=$?; kill -0 "$server" 2>/dev/null; do :; done
if [ -e {REQUEST} ]; then
    rm {REQUEST}
    for directory in $directories; do
        stored={_STORED}$directory
        rm -rf "$stored" "$stored.partial"
        mkdir -p "$stored.partial" || exit
        cp -a "$directory/." "$stored.partial" && mv "$stored.partial" "$stored" || exit
    done
fi
exit "$status"
"""


def entry_point(directories: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the entry point of a container whose data is copied.

    Args:
        directories: Those in memory, without spaces.
        own: The image's own entry point.
    """
    return ["sh", "-c", _FIRST_PROCESS, "berth", *directories, _END_OF_DIRECTORIES, *own]
