#!/bin/sh
# The account that everything runs as: number 1000, without a password.
set -eu
grep -q ':x:1000:' /etc/group || echo 'jovyan:x:1000:' >> /etc/group
grep -q ':x:1000:' /etc/passwd \
    || echo 'jovyan:x:1000:1000::/home/jovyan:/bin/bash' >> /etc/passwd
mkdir -p /home/jovyan
chown 1000:1000 /home/jovyan
chmod 700 /home/jovyan
