#!/bin/sh
# A pipeline that says which branch and commit it built.
set -eu

sleep 2
cat >"$BATCH_JOB_METRICS" <<METRICS
# HELP ci_pipeline_info Always 1; the labels are what the latest run was of.
# TYPE ci_pipeline_info gauge
ci_pipeline_info{branch="main",commit="0123abcd"} 1
METRICS
