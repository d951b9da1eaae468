#!/bin/sh
# A pipeline that says which branch and commit it built.
set -eu

sleep 2
cat >"$BATCH_JOB_METRICS" <<METRICS
# HELP ci_pipeline_info Always 1; the labels tell what the latest run built.
# TYPE ci_pipeline_info gauge
ci_pipeline_info{branch="main",commit="$(date +%s | sha1sum | cut -c 1-8)"} 1
METRICS
