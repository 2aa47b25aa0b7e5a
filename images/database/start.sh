#!/bin/sh
# Starts PostgreSQL; on an empty volume it first makes the databases of the hub and of control, each
# with an owner that cannot see the other's. Passwords are files below $SECRETS.
set -eu
: "${PGDATA:=/var/lib/postgresql/data/main}" "${SECRETS:=/var/run/himalia/secrets}"
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
umask 077

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    new=$PGDATA.new
    rm -rf "$new"
    initdb --pgdata="$new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
        --auth-local=peer --auth-host=reject > /dev/null
    # Nobody but the two owners, by password; this script comes by the socket, as `jovyan`.
    cat > "$new/pg_hba.conf" <<RULES
local all postgres peer map=image
host himalia himalia all scram-sha-256
host jupyterhub jupyterhub all scram-sha-256
RULES
    echo "image $(id -un) postgres" > "$new/pg_ident.conf"
    pg_ctl --pgdata="$new" --silent --wait --log=/tmp/first-start.log \
        --options="-c listen_addresses='' -k /tmp" start
    for name in himalia jupyterhub; do
        # On its input, for nobody to read among the processes.
        psql --host=/tmp --username=postgres --quiet --set=ON_ERROR_STOP=1 <<SQL
CREATE ROLE $name LOGIN PASSWORD '$(cat "$SECRETS/database-$name")';
CREATE DATABASE $name OWNER $name;
REVOKE CONNECT, TEMPORARY ON DATABASE $name FROM PUBLIC;
SQL
    done
    pg_ctl --pgdata="$new" --silent --wait --mode=fast stop
    mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -k /tmp -c listen_addresses='*' -c log_connections=off "$@"
