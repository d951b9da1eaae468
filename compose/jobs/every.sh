#!/bin/sh
# Run a command again and again, in a container that has neither timers nor cron:
#
#   every.sh SECONDS COMMAND [ARGUMENT ...]
set -u

seconds=$1
shift
trap 'exit 0' TERM INT
while :; do
    "$@" || echo "$1 ended with status $?" >&2
    # Not in the foreground, where a signal would wait for its end.
    sleep "$seconds" &
    wait $!
done
