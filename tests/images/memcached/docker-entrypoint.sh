#!/bin/sh
# Starts memcached the way the documentation of the official image promises:
# https://hub.docker.com/_/memcached
set -e

# Options alone are memcached's.
if [ "${1#-}" != "$1" ]; then set -- memcached "$@"; fi
exec "$@"
