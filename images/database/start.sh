#!/bin/sh
# Starts PostgreSQL; on an empty volume it first makes the databases of the hub and of control, each
# with an owner that cannot see the other's. Passwords are files below $SECRETS, certificates in $TLS.
set -eu
: "${PGDATA:=/var/lib/postgresql/data/main}" "${SECRETS:=/var/run/himalia/secrets}" \
    "${TLS:=/var/run/himalia/tls}"
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
umask 077

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    new=$PGDATA.new
    rm -rf "$new"
    initdb --pgdata="$new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
        --auth-local=peer --auth-host=reject > /dev/null
    # This script comes by the socket, as `jovyan`.
    echo 'local all postgres peer map=image' > "$new/pg_hba.conf"
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
# Nobody but the two owners, by password; with certificates, by TLS and with one of their own too.
kind=host certificate=
if [ -e "$TLS/tls.key" ]; then
    kind=hostssl certificate=clientcert=verify-ca
    set -- -c ssl=on -c ssl_min_protocol_version=TLSv1.2 -c ssl_ca_file="$TLS/ca.crt" \
        -c ssl_cert_file="$TLS/tls.crt" -c ssl_key_file="$TLS/tls.key" "$@"
fi
cat > /tmp/pg_hba.conf <<RULES
local all postgres peer map=image
$kind himalia himalia all scram-sha-256 $certificate
$kind jupyterhub jupyterhub all scram-sha-256 $certificate
RULES
exec postgres -D "$PGDATA" -k /tmp -c listen_addresses='*' -c log_connections=off \
    -c hba_file=/tmp/pg_hba.conf "$@"
