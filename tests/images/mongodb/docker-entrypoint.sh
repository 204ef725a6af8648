#!/usr/bin/env bash
# Starts the server the way the documentation of the official image promises:
# https://hub.docker.com/_/mongo
set -euo pipefail

# Options alone are mongod's.
case ${1-} in -*) set -- mongod "$@" ;; esac

if [[ $1 == mongod && $(id -u) == 0 ]]; then
    # Ownership is repaired, not assumed: a mounted directory belongs to whoever made it.
    find /data/configdb /data/db ! -user mongodb -exec chown mongodb {} +
    if [[ ${MONGO_INITDB_ROOT_PASSWORD_FILE-} ]]; then
        MONGO_INITDB_ROOT_PASSWORD=$(< "$MONGO_INITDB_ROOT_PASSWORD_FILE")
        export MONGO_INITDB_ROOT_PASSWORD
    fi
    exec gosu mongodb "$0" "$@"
fi
exec "$@"
