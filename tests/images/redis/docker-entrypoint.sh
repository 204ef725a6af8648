#!/usr/bin/env bash
# Starts Redis the way the documentation of the official image promises:
# https://hub.docker.com/_/redis
set -euo pipefail

# Options alone, or a configuration file alone, are redis-server's.
case ${1-} in -* | *.conf) set -- redis-server "$@" ;; esac

if [[ $1 == redis-server && $(id -u) == 0 ]]; then
    # Ownership is repaired, not assumed: a mounted directory belongs to whoever made it.
    find . ! -user redis -exec chown redis {} +
    exec gosu redis "$0" "$@"
fi

# The official image allows connections from outside the container by default.
if [[ $1 == redis-server && $# -eq 1 ]]; then set -- "$@" --protected-mode no; fi

umask 0077
exec "$@"
