#!/usr/bin/env bash
# Starts MariaDB the way the documentation of the official images promises:
# https://hub.docker.com/_/mariadb and https://hub.docker.com/_/mysql
set -euo pipefail

DATA=/var/lib/mysql
SOCKET=/run/mysqld/mysqld.sock

fail() {
    printf '[ERROR] [Entrypoint]: %s\n' "$1" >&2
    exit 1
}

# setting NAME [DEFAULT]: set NAME from MARIADB_NAME or MYSQL_NAME, or the file that ..._FILE names.
setting() {
    local prefix variable file value=''
    for prefix in MYSQL MARIADB; do
        variable=${prefix}_$1 file=${prefix}_$1_FILE
        [[ -z ${!variable-} || -z ${!file-} ]] ||
            fail "Both $variable and $file are set (but are exclusive)"
        [[ -z ${!file-} ]] || value=$(<"${!file}")
        [[ -z ${!variable-} ]] || value=${!variable}
        unset "$variable" "$file"
    done
    printf -v "$1" '%s' "${value:-${2-}}"
}

read_settings() {
    setting ROOT_PASSWORD
    setting ROOT_HOST '%'
    setting ALLOW_EMPTY_ROOT_PASSWORD
    setting ALLOW_EMPTY_PASSWORD
    setting DATABASE
    setting USER
    setting PASSWORD
    [[ -n $ROOT_PASSWORD$ALLOW_EMPTY_ROOT_PASSWORD$ALLOW_EMPTY_PASSWORD ]] ||
        fail 'Database is uninitialized and password option is not specified'
}

client() { mariadb --no-defaults --socket="$SOCKET" -uroot --protocol=socket "$@"; }

quoted() { printf "'%s'" "${1//\'/\'\'}"; }

# Only its socket is open, so that nobody outside takes it for the finished server.
start_temporary_server() {
    "$@" --skip-networking --socket="$SOCKET" &
    server=$!
    until client -e 'SELECT 1' &>/dev/null; do
        kill -0 $server 2>/dev/null || fail 'Unable to start server.'
        sleep 0.1
    done
}

stop_temporary_server() {
    kill $server
    wait $server
}

create_accounts() {
    local password
    password=$(quoted "$ROOT_PASSWORD")
    {
        # Scripts come before the password, as then nobody needs one.
        echo "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';"
        echo 'FLUSH PRIVILEGES;'
        [[ $ROOT_HOST == localhost ]] ||
            echo "CREATE USER 'root'@$(quoted "$ROOT_HOST") IDENTIFIED BY $password;" \
                "GRANT ALL ON *.* TO 'root'@$(quoted "$ROOT_HOST") WITH GRANT OPTION;"
        [[ -z $DATABASE ]] || echo "CREATE DATABASE IF NOT EXISTS \`$DATABASE\`;"
        [[ -z $USER ]] ||
            echo "CREATE USER $(quoted "$USER")@'%' IDENTIFIED BY $(quoted "$PASSWORD");"
        [[ -z $USER || -z $DATABASE ]] ||
            echo "GRANT ALL ON \`$DATABASE\`.* TO $(quoted "$USER")@'%';"
    } | client
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
        *.sql) client ${DATABASE:+"$DATABASE"} <"$file" ;;
        *.sql.gz) gunzip -c "$file" | client ${DATABASE:+"$DATABASE"} ;;
        esac
    done
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $(quoted "$ROOT_PASSWORD");" | client
}

initialise() {
    read_settings
    mariadb-install-db --no-defaults --datadir="$DATA" --skip-test-db --skip-name-resolve \
        --auth-root-authentication-method=normal >/dev/null
    start_temporary_server "$@"
    create_accounts
    run_init_files
    stop_temporary_server
    echo '[Note] [Entrypoint]: MariaDB init process done. Ready for start up.'
}

case ${1-} in
-*) set -- mariadbd "$@" ;;
mysqld) set -- mariadbd "${@:2}" ;;
esac
if [[ $1 == mariadbd && $(id -u) == 0 ]]; then
    # Ownership is repaired, not assumed: a mounted directory belongs to whoever made it.
    find "$DATA" /run/mysqld ! -user mysql -exec chown mysql: {} +
    exec gosu mysql "$0" "$@"
fi
if [[ $1 == mariadbd && ! -d $DATA/mysql ]]; then initialise "$@"; fi
exec "$@"
