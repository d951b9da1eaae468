#!/bin/sh
# The smallest complete push there is: one metric, one label (`job`, in the URL), no type.
#
#   PUSHGATEWAY_URL=http://gateway:9091 push_minimal.sh JOB METRIC VALUE
#
# METRIC may have labels, as in 'records{table="orders"}'. CURL_CONFIG is a curl config file with what
# the gateway asks for (`user = "name:password"`, `cacert = "..."`). The exit status is 1 if the gateway
# did not take the metric.
set -eu

: "${PUSHGATEWAY_URL:?is the address of the gateway, as in http://gateway:9091}"
[ $# -eq 3 ] || { echo "usage: push_minimal.sh JOB METRIC VALUE" >&2; exit 64; }

# As base64, the name may hold anything, a slash or a space included.
url=${PUSHGATEWAY_URL%/}/metrics/job@base64/$(printf %s "$1" | base64 | tr '+/' '-_' | tr -d '\n=')
# Not --fail: it would take a redirect for a success.
answer=$(printf '%s %s\n' "$2" "$3" |
    curl --silent --show-error --max-time 10 ${CURL_CONFIG:+--config "$CURL_CONFIG"} \
        --write-out '%{http_code}' --data-binary @- "$url") || true
case $answer in
    200 | 202) ;;
    *) printf '%s\n' "$2 of $1 could not be pushed: $answer" >&2; exit 1 ;;
esac
