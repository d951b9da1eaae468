#!/bin/sh
# Archive a directory with tar and report the run, whether it went well or not.
#
#   PUSHGATEWAY_URL=http://gateway:9091 backup_directory.sh JOB DIRECTORY ARCHIVE
#
# INSTANCE         is the `instance` label, which must be the host's name in the inventory; by
#                  default it is what `hostname` says.
# CURL_CONFIG      is a curl config file with what the gateway asks for (`user = "name:password"`,
#                  `cacert = "..."`): a secret belongs in a file, not on a command line.
#
# The exit status is tar's. A gateway that is away costs the backup at most ten seconds, no more.
set -eu

: "${PUSHGATEWAY_URL:?is the address of the gateway, as in http://gateway:9091}"
[ $# -eq 3 ] || { echo "usage: backup_directory.sh JOB DIRECTORY ARCHIVE" >&2; exit 64; }
job=$1 directory=$2 archive=$3
instance=${INSTANCE:-$(hostname)}
started=$(date +%s)

# PUT replaces all that the group holds, POST adds to it: a failure must not erase the last success.
push() {
    curl --silent --show-error --fail-with-body --max-time 10 ${CURL_CONFIG:+--config "$CURL_CONFIG"} \
        --request "$1" --data-binary @- "$PUSHGATEWAY_URL/metrics/job/$job/instance/$instance" ||
        echo "the run of $job could not be reported" >&2
}

report() {
    status=$?
    trap - EXIT
    rm -f "$archive.partial"
    ended=$(date +%s)
    run="\
# TYPE batch_job_last_start_timestamp_seconds gauge
batch_job_last_start_timestamp_seconds $started
# TYPE batch_job_last_completion_timestamp_seconds gauge
batch_job_last_completion_timestamp_seconds $ended
# TYPE batch_job_last_duration_seconds gauge
batch_job_last_duration_seconds $((ended - started))
# TYPE batch_job_last_exit_code gauge
batch_job_last_exit_code $status"
    if [ "$status" -eq 0 ]; then
        push PUT <<METRICS
$run
# TYPE batch_job_last_result gauge
batch_job_last_result{result="success"} 1
# TYPE batch_job_last_success_timestamp_seconds gauge
batch_job_last_success_timestamp_seconds $ended
# HELP backup_size_bytes Size of the archive.
# TYPE backup_size_bytes gauge
backup_size_bytes $(wc -c <"$archive")
METRICS
    else
        push POST <<METRICS
$run
# TYPE batch_job_last_result gauge
batch_job_last_result{result="exit-code"} 1
METRICS
    fi
    exit "$status"
}
# What is backed up may be secret.
umask 077
trap report EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

tar --create --gzip --file "$archive.partial" --directory "$directory" .
mv "$archive.partial" "$archive"
