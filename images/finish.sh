#!/bin/sh
# The last step of an image with Python: Himalia itself, the account, and the list of what is in it.
set -eu
export PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
compile() {
    /opt/himalia/bin/python -m compileall -q --invalidation-mode unchecked-hash "$@" > /dev/null
}
sh /build/account.sh
/opt/himalia/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --no-compile --no-index --no-deps /build/himalia-*.whl
packages=$(/opt/himalia/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
compile "$packages/himalia" "$packages/himalia_hub"
# Some bases come without compiled modules, and nobody could write them later.
library=$(/opt/himalia/bin/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
if ! ls "$library"/__pycache__/os.*.pyc > /dev/null 2>&1; then
    compile -x '/(test|idlelib|lib2to3|site-packages)/' "$library" || true
fi
/opt/himalia/bin/python /build/sbom.py --name "$1"
