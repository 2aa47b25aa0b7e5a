#!/bin/sh
# Makes /opt/himalia from the lock, in the first stage of an image. The certificates of a proxy that
# stands before the package registry are there for this build alone.
set -eu
if [ -s /run/certificates ]; then
    export PIP_CERT=/run/certificates SSL_CERT_FILE=/run/certificates
fi
python3 -m venv /build/tools
/build/tools/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes \
    -r /build/uv.txt
# With the site packages of users' homes, so that `%pip install` has somewhere to go.
python3 -m venv --system-site-packages /opt/himalia
/build/tools/bin/uv pip install --quiet --link-mode copy --require-hashes \
    --python /opt/himalia/bin/python -r /build/lock.txt
# The files may get other times, and root's file system is read-only: what is compiled must be right
# without a look at its source. Anew, as what pip came with is compiled with times in it.
PYTHONHASHSEED=0 /opt/himalia/bin/python -m compileall -q -f --invalidation-mode unchecked-hash \
    /opt/himalia/lib > /dev/null || true
