#!/usr/bin/env bash
# Starts PostgreSQL the way the documentation of the official image promises:
# https://hub.docker.com/_/postgres
set -Eeuo pipefail

fail() {
    printf 'Error: %s\n' "$1" >&2
    (($# == 1)) || printf '       %s\n' "${@:2}" >&2
    exit 1
}

# setting NAME [DEFAULT]: export NAME from the environment, from the file NAME_FILE, or DEFAULT.
setting() {
    local name=$1 default=${2-} file_name=${1}_FILE
    local value=${!name-} file=${!file_name-}
    [[ -z $value || -z $file ]] || fail "both $name and $file_name are set; set only one of them."
    [[ -z $file ]] || value=$(<"$file")
    export "$name=${value:-$default}"
    unset "$file_name"
}

read_settings() {
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    setting POSTGRES_INITDB_WALDIR
    setting POSTGRES_HOST_AUTH_METHOD
}

is_initialised() { [[ -s $PGDATA/PG_VERSION ]]; }

only_prints_and_exits() {
    local argument
    for argument; do
        case $argument in -\? | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

# Ownership is repaired, not assumed: a mounted directory belongs to whoever made it.
prepare_directories() {
    local directory
    for directory in "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}; do
        mkdir -p "$directory"
        chmod 0700 "$directory" || true
        give_to_postgres "$directory"
    done
    mkdir -p /var/run/postgresql || true
    chmod 3775 /var/run/postgresql || true
    give_to_postgres /var/run/postgresql
}

give_to_postgres() {
    [[ $(id -u) != 0 ]] || find "$1" ! -user postgres -exec chown postgres {} +
}

require_password() {
    if [[ $POSTGRES_HOST_AUTH_METHOD == trust ]]; then
        echo 'WARNING: POSTGRES_HOST_AUTH_METHOD is "trust": whoever reaches the port is let in' \
            'without a password.' >&2
    elif [[ -z $POSTGRES_PASSWORD ]]; then
        fail 'Database is uninitialized and superuser password is not specified.' \
            'Set POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) to a non-empty value,' \
            'or POSTGRES_HOST_AUTH_METHOD=trust to let everyone in without a password.'
    fi
}

# Up to 17 the data was mounted at /var/lib/postgresql/data; from 18 on it would stay unused there.
refuse_misplaced_data() {
    ((PG_MAJOR >= 18)) && [[ $PGDATA == /var/lib/postgresql/$PG_MAJOR/docker ]] || return 0
    local old
    for old in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
        [[ ! -s $old/PG_VERSION ]] || fail "there is data of another PostgreSQL in $old." \
            'From 18 on, mount one volume at /var/lib/postgresql, and use pg_upgrade for old data.'
    done
    ! mountpoint -q /var/lib/postgresql/data || fail '/var/lib/postgresql/data is mounted.' \
        'From 18 on, mount one volume at /var/lib/postgresql instead.'
}

# initdb wants the current user to have a name, which `docker run --user 1234` does not give.
with_user_name() {
    local uid gid wrapper files
    uid=$(id -u) gid=$(id -g)
    if getent passwd "$uid" >/dev/null; then
        "$@"
        return
    fi
    wrapper=$(find /usr/lib -name libnss_wrapper.so -print -quit)
    files=$(mktemp -d)
    echo "postgres:x:$uid:$gid:PostgreSQL:$PGDATA:/bin/false" >"$files/passwd"
    echo "postgres:x:$gid:" >"$files/group"
    LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD=$files/passwd NSS_WRAPPER_GROUP=$files/group "$@"
    rm -r "$files"
}

# POSTGRES_INITDB_ARGS is shell text, quotes included: hence eval.
create_cluster() {
    local -a extra=()
    eval "extra=($POSTGRES_INITDB_ARGS)"
    [[ -z $POSTGRES_INITDB_WALDIR ]] || extra+=(--waldir "$POSTGRES_INITDB_WALDIR")
    with_user_name initdb --username="$POSTGRES_USER" \
        --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${extra[@]}"
    # These binaries were compiled for /tmp, which initdb writes over whatever its template says.
    echo "unix_socket_directories = '/var/run/postgresql'" >>"$PGDATA/postgresql.conf"
}

# allow_hosts [server argument ...]: the server's own password encryption is the default method.
allow_hosts() {
    local method=$POSTGRES_HOST_AUTH_METHOD
    [[ -n $method ]] || method=$(postgres -C password_encryption "$@")
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# Only its socket is open, so that nobody outside takes it for the finished server.
start_temporary_server() {
    set -- "$@" -c listen_addresses='' -k /var/run/postgresql -p "${PGPORT:-5432}"
    NOTIFY_SOCKET='' PGUSER=${PGUSER:-$POSTGRES_USER} \
        pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@")" -w start
}

stop_temporary_server() { PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop; }

run_psql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc \
        --username "$POSTGRES_USER" "$@"
}

create_database() {
    local exists
    exists=$(run_psql --dbname postgres --set db="$POSTGRES_DB" --tuples-only \
        <<<"SELECT 1 FROM pg_database WHERE datname = :'db'")
    [[ -n $exists ]] || run_psql --dbname postgres --set db="$POSTGRES_DB" \
        <<<'CREATE DATABASE :"db"'
}

# The names that init scripts written for the official image may call when they are sourced.
docker_process_sql() { run_psql ${POSTGRES_DB:+--dbname "$POSTGRES_DB"} "$@"; }
psql=(docker_process_sql)

run_init_file() {
    case $1 in
    *.sh) run_init_script "$1" ;;
    *.sql) announce running "$1" && docker_process_sql -f "$1" ;;
    *.sql.gz) announce running "$1" && gunzip -c "$1" | docker_process_sql ;;
    *.sql.xz) announce running "$1" && xzcat "$1" | docker_process_sql ;;
    *.sql.zst) announce running "$1" && zstd -dc "$1" | docker_process_sql ;;
    *) announce ignoring "$1" ;;
    esac
}

# Scripts without the executable bit are sourced, in the looser shell they are written for.
run_init_script() {
    if [[ -x $1 ]]; then
        announce running "$1" && "$1"
    else
        announce sourcing "$1"
        set +u
        # shellcheck source=/dev/null
        . "$1"
        set -u
    fi
}

announce() { printf '%s: %s %s\n' "$0" "$1" "$2"; }

initialise() {
    require_password
    refuse_misplaced_data
    # An unreadable directory should be found now, not when half of the data is there.
    ls /docker-entrypoint-initdb.d/ >/dev/null
    create_cluster
    allow_hosts "$@"
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    start_temporary_server "$@"
    create_database
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        [[ ! -e $file ]] || run_init_file "$file"
    done
    stop_temporary_server
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

main() {
    [[ ${1-} != -* ]] || set -- postgres "$@"
    if [[ ${1-} == postgres ]] && ! only_prints_and_exits "$@"; then
        read_settings
        prepare_directories
        [[ $(id -u) != 0 ]] || exec gosu postgres "${BASH_SOURCE[0]}" "$@"
        if is_initialised; then
            printf '\nPostgreSQL Database directory appears to contain a database; %s\n\n' \
                'Skipping initialization'
        else
            initialise "${@:2}"
        fi
    fi
    exec "$@"
}

main "$@"
