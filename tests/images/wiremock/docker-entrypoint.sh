#!/bin/bash
# Starts WireMock the way the documentation of the official image promises:
# https://hub.docker.com/r/wiremock/wiremock
set -e

# Options alone, or nothing, are WireMock's.
if [[ -z "${1:-}" || "$1" == -* ]]; then
    # shellcheck disable=SC2086  # options are words
    set -- java ${JAVA_OPTS:-} -cp '/var/wiremock/lib/*:/var/wiremock/extensions/*' wiremock.Run "$@"
fi
# shellcheck disable=SC2086  # options are words
exec "$@" ${WIREMOCK_OPTIONS:-}
