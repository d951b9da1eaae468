#!/bin/sh
# Report how a run of a pipeline ended, as its last step, in any CI.
#
#   PUSHGATEWAY_URL=http://gateway:9091 PIPELINE=release RESULT=success STARTED=1795420800 \
#     BRANCH=main DEFAULT_BRANCH=main COMMIT=0123abcd report_pipeline.sh
#
# PIPELINE             is the `job` label. A name that is always the same: every other one is a
#                      group that stays at the gateway for ever. Declare it in `batch_job_external`.
# RESULT               is what GitLab, GitHub or Jenkins call the result.
# STARTED              are Unix seconds, milliseconds, or UTC as in 2026-11-23T08:00:00Z.
# BRANCH               Only runs of DEFAULT_BRANCH are the pipeline: nobody is called for a red branch
#                      of somebody's work. Runs of other branches are not reported, but for
# BRANCHES             long-lived ones, separated by spaces. Each is a pipeline of its own, which is
#                      called PIPELINE:BRANCH with - for /.
# OTHER_BRANCHES       If this is not empty, all the rest is PIPELINE:other, which never fails.
# COMMIT               goes, shortened, with the branch on one series that the next run replaces, and
#                      on no other: as a label of every metric it would make new series of each run.
# OWNER                is a label of its alerts, where the inventory does not declare it.
# MAX_RUNTIME_SECONDS  A run that was cancelled after so long was not cancelled by somebody.
# CURL_CONFIG          is a curl config file with what the gateway asks for (`user =
#                      "name:password"`, `cacert = "..."`).
#
# `report_pipeline.sh info` prints that one series instead, for $BATCH_JOB_METRICS of `batch-job run`.
#
# The exit status is 0 whatever becomes of the report, which takes at most ten seconds.
set -eu

# A value of a label has \, " and the end of a line escaped.
label() {
    printf '%s="%s"' "$1" "$(printf %s "$2" | sed -e 's/[\\"]/\\&/g' -e '$!s/$/\\n/' | tr -d '\n')"
}

# NAME VALUE HELP [LABELS]. Where reporters of a metric disagree on its help, the gateway shows none.
gauge() {
    printf '# HELP %s %s\n# TYPE %s gauge\n%s%s %s\n' "$1" "$3" "$1" "$1" "${4-}" "$2"
}

info() {
    gauge ci_pipeline_info 1 "Always 1; the labels are what the latest run was of." \
        "{$(label branch "$branch"),$(label commit "$(printf %.8s "${COMMIT-}")")}"
}

seconds() {
    case $1 in
        '') return 1 ;;
        # Busybox knows neither T nor Z.
        *[!0-9]*) date -d "$1" +%s || date -u -d "$(echo "$1" | sed 's/T/ /; s/Z$//')" +%s ;;
        ????????????*) echo "${1%???}" ;;
        *) echo "$1" ;;
    esac 2>/dev/null
}

leave() {
    echo "this run is not reported: $1" >&2
    exit 0
}

branch=other
# No branch of git has a space in its name; a tag or a merge request has no branch.
case " ${DEFAULT_BRANCH:?} ${BRANCHES-} " in
    *" ${BRANCH:=other} "*) branch=$BRANCH ;;
esac
if [ "${1-}" = info ]; then
    info
    exit
fi

job=${PIPELINE:?is the name of the pipeline}
# A name that the inventory can declare has no slash.
[ "$branch" = "$DEFAULT_BRANCH" ] || job=$job:$(printf %s "$branch" | tr / -)
[ "$branch" != other ] || [ -n "${OTHER_BRANCHES-}" ] ||
    leave "$BRANCH is neither $DEFAULT_BRANCH nor one of BRANCHES (${BRANCHES-})"
# Such as in runs of forks, which see no variables.
[ -n "${PUSHGATEWAY_URL-}" ] || leave "there is no PUSHGATEWAY_URL"

ended=$(date +%s)
if started=$(seconds "${STARTED-}"); then
    duration=$((ended - started))
else
    echo "the start of this run, '${STARTED-}', is not a time" >&2
    started='' duration=0
fi

case ${RESULT:?is how the run ended} in
    success | SUCCESS) result=success status=0 ;;
    # As GitLab's interface calls a pipeline in which a job failed that may fail. With another status,
    # a later run that is cancelled would make a failure of it.
    success-with-warnings) result=warning status=0 ;;
    failed | failure | FAILURE | UNSTABLE) result=exit-code status=1 ;;
    timedout | timed_out) result=timeout status=124 ;;
    # That somebody stopped it, or pushed again, says nothing about the pipeline: it goes on to be as
    # good or bad as before. If no run succeeds in time, BatchJobMissed tells.
    canceled | cancelled | ABORTED) result=signal status='' ;;
    *) leave "it is called $RESULT" ;;
esac
if [ "$result" = signal ] && [ -n "${MAX_RUNTIME_SECONDS-}" ] && [ "$duration" -ge "$MAX_RUNTIME_SECONDS" ]; then
    result=timeout status=124
fi
[ "$branch" != other ] || status=''

run() {
    gauge batch_job_info 1 "Always 1; the labels are the job's declaration." \
        "{$(label owner "${OWNER-}"),kind=\"ci\"}"
    [ -z "${MAX_RUNTIME_SECONDS-}" ] || gauge batch_job_max_runtime_seconds "$MAX_RUNTIME_SECONDS" \
        "A run longer than this is stuck; +Inf when no limit was declared."
    if [ -n "$started" ]; then
        gauge batch_job_last_start_timestamp_seconds "$started" "When the latest run started."
        gauge batch_job_last_duration_seconds "$duration" "How long the latest run took."
    fi
    gauge batch_job_last_completion_timestamp_seconds "$ended" "When the latest run ended."
    gauge batch_job_last_result 1 "Always 1; the label is the result of the latest run." \
        "{$(label result "$result")}"
    [ -z "$status" ] || gauge batch_job_last_exit_code "$status" \
        "Exit code of the latest run, 128+N for signal N; 0 for a success."
    [ "$method" = POST ] || gauge batch_job_last_success_timestamp_seconds "$ended" \
        "When the latest successful run ended."
    info
}

# PUT replaces all that the group holds, POST adds to it: a failure must not erase the last success.
case $result in success | warning) method=PUT ;; *) method=POST ;; esac
# No instance: a pipeline has no host. As base64, the name may hold anything, a slash included.
url=${PUSHGATEWAY_URL%/}/metrics/job@base64/$(printf %s "$job" | base64 | tr '+/' '-_' | tr -d '\n=')
# Not --fail: it would take a redirect for a success.
answer=$(run | curl --silent --show-error --max-time 10 ${CURL_CONFIG:+--config "$CURL_CONFIG"} \
    --write-out '%{http_code}' --request "$method" --data-binary @- "$url") || true
case $answer in
    200 | 202) ;;
    *) echo "the run of $job could not be reported: $answer" >&2 ;;
esac
