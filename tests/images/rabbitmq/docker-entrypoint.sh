#!/usr/bin/env bash
# Starts RabbitMQ the way the documentation of the official image promises:
# https://hub.docker.com/_/rabbitmq
# RABBITMQ_DEFAULT_USER, _PASS and _VHOST are read by the server itself.
set -euo pipefail

if [[ ${1-} == rabbitmq* && $(id -u) == 0 ]]; then
    if [[ $1 == rabbitmq-server ]]; then
        # Ownership is repaired, not assumed: a mounted directory belongs to whoever made it.
        find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq {} +
    fi
    exec gosu rabbitmq "$0" "$@"
fi

exec "$@"
