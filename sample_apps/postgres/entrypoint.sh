#!/bin/bash
# Makes the database cluster on the first start, as root then as postgres, and becomes the server.
set -euo pipefail

if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec gosu postgres "$0" "$@"
fi

if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username postgres --encoding UTF8 --locale C.UTF-8 --auth-host trust --auth-local trust
    echo "host all all all ${POSTGRES_AUTH:-trust}" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    pg_ctl --pgdata "$PGDATA" --options "-c listen_addresses=''" --wait start
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) . "$file" ;;
            *.sql) psql --username postgres --no-psqlrc --set ON_ERROR_STOP=1 --file "$file" ;;
        esac
    done
    pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
fi

exec "$@"
