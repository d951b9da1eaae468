#!/bin/sh
# A job that fails every other time, the first one to begin with.
set -eu

if [ ! -e /tmp/answers ]; then
    touch /tmp/answers
    echo "the mirror does not answer" >&2
    exit 3
fi
rm /tmp/answers
