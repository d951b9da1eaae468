#!/bin/sh
# A job that fails sometimes: the first of every three times.
set -eu

turn=$(cat /tmp/turn 2>/dev/null || echo 0)
echo $(((turn + 1) % 3)) >/tmp/turn
[ "$turn" -ne 0 ] || {
    echo "the mirror does not answer" >&2
    exit 3
}
