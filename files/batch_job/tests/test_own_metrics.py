"""What becomes of a job's own metrics, by each way that they can take.

Each row is a text that some program writes. The verbs are real, and so are the gateways.
"""

import math
import re
from typing import NamedTuple

import pytest

from programs import INSTANCE

BUCKETS = 'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
HISTOGRAM = f"# TYPE h histogram\n{BUCKETS}"
# How a gateway exposes it.
WHOLE = {'h_bucket{le="1"}': 1, 'h_bucket{le="+Inf"}': 2, "h_sum": 3, "h_count": 2}
SUMMARY = '# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 2\n'
PARTS = {'s{quantile="0.5"}': 1, "s_sum": 3, "s_count": 2}
GOOD = "good 1\n"
LEFT = {"good": 1}


class Row(NamedTuple):
    """A text, the series that arrive, why others do not, and whether a gateway takes the text."""

    text: str | bytes
    series: dict[str, float]
    reason: str = ""
    is_taken: bool = False


def fine(text, is_taken=True, **series):
    """Return a row of which everything arrives."""
    return Row(text, series or {"x": 1}, is_taken=is_taken)


def bad(line, reason, series=None, is_taken=False):
    """Return a row of which the rest arrives."""
    return Row(f"{GOOD}{line}", LEFT if series is None else series, reason, is_taken)


ROWS = {
    # Forms of one line.
    "plain": fine("x 1\n"),
    "without a line end": fine("x 1", is_taken=False),
    "CRLF": fine("x 1\r\n", is_taken=False),
    "CRLF with a type": fine("# TYPE x gauge\r\nx 1\r\n", is_taken=False),
    "a byte order mark": fine(b"\xef\xbb\xbfx 1\n", is_taken=False),
    "UTF-16 of a PowerShell": fine("\ufeffx 1\r\n".encode("utf-16-le"), is_taken=False),
    "UTF-16, big end first": fine("\ufeffx 1\r\n".encode("utf-16-be"), is_taken=False),
    "tabs": fine("\tx\t1\t\n", is_taken=False),
    "spaces": fine("  x   1  \n", is_taken=False),
    "empty lines": fine("\n\nx 1\n\n"),
    "remarks": fine("# a remark\n#\nx 1\n# EOF\n"),
    "nothing between labels and value": Row('x{a="b"}1\n', {'x{a="b"}': 1}, is_taken=True),
    "spaces in labels": Row('x { a = "b" , } 1\n', {'x{a="b"}': 1}, is_taken=True),
    "braces in a label": Row('x{a="{},# 1"} 1\n', {'x{a="{},# 1"}': 1}, is_taken=True),
    "an escaped quote": Row('x{a="\\" 2"} 1\n', {'x{a="\\" 2"}': 1}, is_taken=True),
    "umlauts": Row('x{a="Sauvegarde Été"} 1\n', {'x{a="Sauvegarde Été"}': 1}, is_taken=True),
    "a line end in a label": Row('x{a="1\\n2"} 1\n', {'x{a="1\\n2"}': 1}, is_taken=True),
    "a type below its series": fine("x 1\n# TYPE x gauge\n", is_taken=False),
    # Numbers.
    "an exponent": fine("x 1.5e3\n", x=1500),
    "infinity": fine("x +Inf\n", x=math.inf),
    "infinity in words": fine("x infinity\n", x=math.inf),
    "below zero": fine("x -1\n", x=-1),
    "too large": fine("x 1e999\n", is_taken=False, x=math.inf),
    "a decimal comma": bad("x 3,14\n", r"line 2 .*x: '3,14' is not a number, 3\.14 is"),
    "a comma of thousands": bad("x 1,234,567\n", "line 2 .*x: '1,234,567' is not a number"),
    "a unit": bad("x 5GB\n", "line 2 .*x: '5GB' is not a number"),
    "an underscore": bad("x 1_000\n", "line 2 .*x: '1_000' is not a number"),
    "a word": bad("x yes\n", "line 2 .*x: 'yes' is not a number"),
    "no value": bad("x\n", "line 2 .*not a metric line"),
    "no value after labels": bad('x{a="b"}\n', "line 2 .*not a metric line"),
    # What belongs to another format.
    "a timestamp": fine("x 1 1700000000000\n", is_taken=False),
    "a timestamp in seconds": fine("x 1 1700000000.5\n", is_taken=False),
    "an exemplar": Row(
        '# TYPE x_total counter\nx_total 1 # {trace_id="a b"} 0.5 1700000000.1\n',
        {"x_total": 1},
    ),
    "an exemplar of a bucket": Row(
        HISTOGRAM.replace('"} 1\n', '"} 1 # {trace_id="abc"} 0.5\n', 1), WHOLE
    ),
    "timestamps of a histogram": Row(re.sub(r"(\d)$", r"\1 1700", HISTOGRAM, flags=re.M), WHOLE),
    "an end": Row(f"{HISTOGRAM}# EOF\n", WHOLE, is_taken=True),
    "a unit line": fine("# TYPE x gauge\n# UNIT x seconds\nx 1\n"),
    "an unknown type": fine("# TYPE x unknown\nx 1\n", is_taken=False),
    "an info": Row('# TYPE x_info info\nx_info{a="b"} 1\n', {'x_info{a="b"}': 1}),
    "a time of creation": fine(
        "# TYPE x_total counter\nx_total 1\nx_created 2\n", x_total=1, x_created=2
    ),
    "no type at all": bad("# TYPE x number\nx 1\n", "line 2 .*not a type", {**LEFT, "x": 1}),
    "two types": bad(
        "# TYPE x gauge\n# TYPE x counter\nx 1\n", "line 3 .*once more", {**LEFT, "x": 1}
    ),
    # Labels of the group.
    "another job": fine('x{job="other"} 1\n'),
    "another instance": fine('x{instance="other"} 1\n'),
    "the label of another job beside one": Row(
        'x{a="b",job="other",instance=""} 1\n', {'x{a="b"}': 1}, is_taken=True
    ),
    "two jobs": bad('x{job="a"} 1\nx{job="b"} 2\n', "line 3 .*same series", {**LEFT, "x": 1}),
    "an empty label": fine('x{a=""} 1\n'),
    # Families.
    "a histogram": Row(HISTOGRAM, WHOLE, is_taken=True),
    "a summary": Row(SUMMARY, PARTS, is_taken=True),
    "a counter without its suffix": fine("# TYPE x counter\nx 1\n"),
    "a counter with it": fine("# TYPE x_total counter\nx_total 1\n", x_total=1),
    "a histogram below its series": Row(f"{BUCKETS}# TYPE h histogram\n", WHOLE, is_taken=True),
    "a family in two places": Row(
        'x{a="1"} 1\ny 1\nx{a="2"} 2\n', {'x{a="1"}': 1, 'x{a="2"}': 2, "y": 1}, is_taken=True
    ),
    "a bad bucket": bad(
        HISTOGRAM.replace("} 2", "} two"), "line 4 is left out, and so is all of h: not a metric"
    ),
    "a bad sum": bad(HISTOGRAM.replace("h_sum 3", "h_sum 3,5"), r"line 5 .*all of h: .* 3\.5 is"),
    "a bucket without a bound": bad(
        HISTOGRAM.replace('{le="1"}', ""),
        "line 3 .*all of h: h_bucket needs a number as le",
        None,
        True,
    ),
    "a bound that is no number": bad(
        HISTOGRAM.replace('"1"', '"one"'), "line 3 .*all of h: h_bucket needs a number as le"
    ),
    "a bare sample of a histogram": bad(
        f"{HISTOGRAM}h 5\n",
        "line 7 .*all of h: h is a histogram, which has no series h",
        None,
        True,
    ),
    "a bad quantile": bad(
        SUMMARY.replace("0.5", "half"), "line 3 .*all of s: s needs a number as quantile"
    ),
    "a bad series among good ones": bad(
        'x{a="1"} 1\nx{a="2"} oops\nx{a="3"} 3\n', "line 3 is left out, and so is all of x: "
    ),
    "a series twice": bad("x 1\nx 2\n", "line 3 is left out: the same series", {**LEFT, "x": 1}),
    "a gauge with the name of a part": bad(
        f"{HISTOGRAM}# TYPE h_count gauge\n",
        "line 6 .*all of h: h_count is a part of the histogram h",
    ),
    # Names.
    "a name with a dash": bad("my-metric 1\n", "line 2 .*not a metric line"),
    "a name with a dot": bad("my.metric 1\n", "line 2 .*not a metric line"),
    "a quoted name": bad('{"my.metric"} 1\n', "line 2 .*not a metric name"),
    "a label with a dot": bad('x{"a.b"="c"} 1\n', "line 2 .*not a label name"),
    "a metric of the contract": bad(
        "batch_job_last_exit_code 0\n", "line 2 .*not the job's to set", None, True
    ),
    "a metric of the gateway": bad("push_time_seconds 1\n", "line 2 .*not the job's", None, True),
    "a quote that does not end": bad('x{a="b 1\n', "line 2 .*not a metric line"),
    "a log": bad("Backup done.\n", "line 2 .*not a metric line"),
    "not text": Row(b"good 1\nb\xe4d 1\n", LEFT, "line 2 .*not a metric line"),
}


def exposed(text, job):
    """Return the series of a job's own metrics, without its labels, and the types of families."""
    series, types = {}, {}
    for line in text.splitlines():
        words = line.split(" ")
        if words[:2] == ["#", "TYPE"]:
            types[words[2]] = words[3]
        elif f'job="{job}"' in line:
            name, value = line.rsplit(" ", 1)
            name = re.sub(r'(job|instance)="[^"]*",?', "", name).replace(",}", "}")
            # An empty label is none.
            series[re.sub(r'\{(\w+="")?}$', "", name)] = float(value)
    own = {
        name: value
        for name, value in series.items()
        if not re.match("batch_job_|push_(failure_)?time_seconds", name)
    }
    return own, {name: kind for name, kind in types.items() if re.match("[xhsy]", name)}


@pytest.mark.parametrize("name", ROWS)
def test_of_a_jobs_own_metrics_whole_families_arrive(name, node, pushgateway, exporter, tmp_path):
    text, series, reason, is_taken = ROWS[name]
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "written").write_bytes(content)
    node.configure(pushgateway.url, exporter.gateway)
    done = node(
        "run", "--job", "run", "--", "sh", "-c", f"cat {tmp_path}/written > $BATCH_JOB_METRICS"
    )
    assert re.search(reason, done.stderr) if reason else done.stderr == ""
    own, types = exposed(pushgateway.get("/metrics").text, "run")
    assert own == series
    assert exposed(exporter.get("/metrics").text, "run") == (series, types)
    assert pushgateway.result("run", INSTANCE) == "success"

    pushgateway.wipe()
    exporter.wipe()
    done = node("push", "--job", "push", stdin=content.decode(errors="surrogateescape"))
    assert done.returncode == (65 if reason else 0)
    pushed = ({}, {}) if reason else (series, types)
    assert exposed(pushgateway.get("/metrics").text, "push") == pushed
    assert exposed(exporter.get("/metrics").text, "push") == pushed

    pushgateway.wipe()
    response = pushgateway.request("PUT", "/metrics/job/curl", data=content)
    assert response.ok == is_taken
    # Without a type above them, a gateway takes the parts of a histogram for families.
    if is_taken and not reason and name != "a histogram below its series":
        assert exposed(pushgateway.get("/metrics").text, "curl") == (series, types)
