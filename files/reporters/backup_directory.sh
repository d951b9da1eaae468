#!/bin/sh
# Archive a directory with tar and report the run: that it started, and how it ended.
#
#   PUSHGATEWAY_URL=http://gateway:9091 backup_directory.sh JOB DIRECTORY ARCHIVE
#
# INSTANCE             is the `instance` label, which must be the host's name in the inventory; by
#                      default it is what `uname -n` says. Empty, the job has no such label.
# CURL_CONFIG          is a curl config file with what the gateway asks for (`user =
#                      "name:password"`, `cacert = "..."`): a secret belongs in a file, not on a
#                      command line.
# MAX_RUNTIME_SECONDS  A run that takes longer alerts as stuck; it goes on.
# WARNING_EXIT_CODES   are those with which the program succeeded with a warning, separated by spaces, in
#                      place of those that are named after `finish $!` below.
# OWNER, SEVERITY      are labels of the alerts of a job that the inventory does not declare.
#
# The exit status is tar's, or 128+N after signal N. A gateway that is away costs the backup at most
# ten seconds for each of the two reports.
#
# For another program, one of these goes where tar is below. Each says how large the backup is, not
# what a run added to it: a directory that was emptied would add nothing and look fine.
#
# restic, of which the environment names the repository; ARCHIVE names a file that it may use for
# notes. It ends with 3 when there were files that it could not read.
#
#   restic backup --json --quiet "$directory" >"$archive.partial" &
#   finish $! 3
#   size=$(sed -n 's/.*"total_bytes_processed":\([0-9]*\).*/\1/p' "$archive.partial")
#
# borg 1, of which BORG_REPO names the repository; ARCHIVE as above. It ends with 1 for a warning,
# such as a file that changed meanwhile, or with 100 to 107 where BORG_EXIT_CODES=modern.
#
#   borg create --json '::{hostname}-{now}' "$directory" >"$archive.partial" &
#   finish $! 1 100 101 102 103 104 105 106 107
#   size=$(sed -n 's/.*"original_size": *\([0-9]*\).*/\1/p' "$archive.partial")
#
# pg_dump; DIRECTORY names the database. Not by a pipe into gzip: that would hide a failure.
#
#   pg_dump --format=custom --file="$archive.partial" "$directory" &
#   finish $!
#   mv "$archive.partial" "$archive"
#   size=$(wc -c <"$archive")
set -eu

: "${PUSHGATEWAY_URL:?is the address of the gateway, as in http://gateway:9091}"
[ $# -eq 3 ] || { echo "usage: backup_directory.sh JOB DIRECTORY ARCHIVE" >&2; exit 64; }
job=$1 directory=$2 archive=$3
instance=${INSTANCE-$(uname -n)}
started=$(date +%s)
is_finished='' is_complete='' size=''

# As base64, a name may hold anything, a slash or a space included.
grouped() {
    printf '/%s@base64/%s' "$1" "$(printf %s "$2" | base64 | tr '+/' '-_' | tr -d '\n=')"
}

# A value of a label has \, " and the end of a line escaped.
label() {
    printf '%s="%s"' "$1" "$(printf %s "$2" | sed -e 's/[\\"]/\\&/g' -e '$!s/$/\\n/' | tr -d '\n')"
}

# NAME VALUE HELP [LABELS]. Where reporters of a metric disagree on its help, the gateway shows none.
gauge() {
    printf '# HELP %s %s\n# TYPE %s gauge\n%s%s %s\n' "$1" "$3" "$1" "$1" "${4-}" "$2"
}

# PUT replaces all that the group holds, POST adds to it: a failure must not erase the last success.
push() {
    url=${PUSHGATEWAY_URL%/}/metrics$(grouped job "$job")
    [ -z "$instance" ] || url=$url$(grouped instance "$instance")
    # Not --fail: it would take a redirect for a success.
    answer=$(curl --silent --show-error --max-time 10 ${CURL_CONFIG:+--config "$CURL_CONFIG"} \
        --write-out '%{http_code}' --request "$1" --data-binary @- "$url") || true
    case $answer in
        200 | 202) ;;
        *) echo "the run of $job could not be reported: $answer" >&2 ;;
    esac
}

start() {
    [ -z "${OWNER-}${SEVERITY-}" ] ||
        gauge batch_job_info 1 "Always 1; the labels are the job's declaration." \
            "{$(label owner "${OWNER-}"),$(label severity "${SEVERITY-}"),kind=\"backup\"}"
    [ -z "${MAX_RUNTIME_SECONDS-}" ] ||
        gauge batch_job_max_runtime_seconds "$MAX_RUNTIME_SECONDS" \
            "A run longer than this is stuck; +Inf when no limit was declared."
    gauge batch_job_last_start_timestamp_seconds "$started" "When the latest run started."
}

end() {
    start
    gauge batch_job_last_completion_timestamp_seconds "$ended" "When the latest run ended."
    gauge batch_job_last_duration_seconds "$((ended - started))" "How long the latest run took."
    gauge batch_job_last_exit_code "$status" \
        "Exit code of the latest run, 128+N for signal N; 0 for a success."
    gauge batch_job_last_result 1 "Always 1; the label is the result of the latest run." \
        "{$(label result "$result")}"
}

success() {
    end
    gauge batch_job_last_success_timestamp_seconds "$ended" "When the latest successful run ended."
    [ -z "$size" ] || gauge backup_size_bytes "$size" "Size of the backup."
}

report() {
    status=$?
    trap - EXIT
    trap '' HUP INT TERM
    rm -f "$archive.partial"
    ended=$(date +%s)
    case $status in
        0) result=success ;;
        124) result=timeout ;;
        126 | 127) result=start-failed ;;
        129 | 1[3-8]? | 19[0-2]) result=signal ;;
        *) result=exit-code ;;
    esac
    [ -z "$is_complete" ] || [ "$status" -eq 0 ] || result=warning
    if [ -n "$is_complete" ]; then success | push PUT; else end | push POST; fi
    exit "$status"
}

# PID [WARNING_EXIT_CODE ...]. While a program runs in the foreground, a shell would keep a signal for
# later.
finish() {
    program_status=0
    wait "$1" || program_status=$?
    is_finished=yes
    shift
    case " 0 ${WARNING_EXIT_CODES-$*} " in
        *" $program_status "*) ;;
        *) exit "$program_status" ;;
    esac
}

stop() {
    # Nothing may have been started yet, so $! need not be set.
    set +u
    is_complete=''
    [ -n "$is_finished" ] || kill "$!" 2>/dev/null || true
    wait
    exit "$1"
}

# What is backed up may be secret.
umask 077
trap report EXIT
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM
start | push POST

tar -czf "$archive.partial" -C "$directory" . &
case $(tar --version 2>&1) in
    # A file changed as it read it.
    *GNU*) finish $! 1 ;;
    # Another tar may end with 1 for any error.
    *) finish $! ;;
esac
mv "$archive.partial" "$archive"
size=$(wc -c <"$archive")
is_complete=yes
exit "$program_status"
