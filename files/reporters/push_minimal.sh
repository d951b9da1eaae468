#!/bin/sh
# The smallest push there is: one metric, one label (`job`, in the URL), no type.
#
#   PUSHGATEWAY_URL=http://gateway:9091 push_minimal.sh JOB METRIC VALUE
set -eu

: "${PUSHGATEWAY_URL:?is the address of the gateway, as in http://gateway:9091}"
[ $# -eq 3 ] || { echo "usage: push_minimal.sh JOB METRIC VALUE" >&2; exit 64; }

echo "$2 $3" |
    curl --silent --show-error --fail-with-body --max-time 10 \
        --data-binary @- "$PUSHGATEWAY_URL/metrics/job/$1"
