"""The metric contract: what is pushed for a run, and which of the job's own metrics go along."""

from __future__ import annotations

import codecs
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from batch_job import files
from batch_job.config import Job
from batch_job.durations import spoken
from batch_job.gateway import Samples
from batch_job.outcome import Outcome

PREFIX = "batch_job_"
# Pushgateway sets these itself.
RESERVED = ("push_time_seconds", "push_failure_time_seconds")
# Pushgateway sets these labels from the group, whatever the line has.
GROUPING_LABELS = ("job", "instance")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
# Metrics of jobs that the rules read, with their help text; their type is gauge. A gateway takes
# one type for a metric: a job with another type would block the reports of all others.
WELL_KNOWN = {"backup_size_bytes": "Size of the backup."}
# A series of these types is one number, so each of them can be pushed as any other.
PLAIN_TYPES = ("gauge", "counter", "untyped")
# The suffixes of series of the other types, and the label that each has.
PARTS = {
    "histogram": {"_bucket": "le", "_sum": "", "_count": ""},
    "summary": {"": "quantile", "_sum": "", "_count": ""},
}
OPENMETRICS_TYPES = {"unknown": "untyped", "info": "gauge", "stateset": "gauge"}
SERIES_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)")
# A value, perhaps with a timestamp and an exemplar.
SAMPLE_LINE = re.compile(
    r'\s*(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{(?:[^"{}]|"(?:\\.|[^"\\])*")*\}|(?=\s)))'
    r"\s*(?P<value>[^\s#]+)(?:\s+[-+.0-9eE]+)?\s*(?:#.*)?\Z"
)
REPEATED = "the same series once more"
PLAIN_TYPE_LINE = re.compile(r"^# TYPE (\S+) (counter|untyped)$", re.MULTILINE)
# A job that writes more than this has mistaken the file for a log.
MAX_OWN_BYTES = 1 << 20
MAX_OWN_LINES = 10_000
# The client library's parser takes a second for a line of 160 KiB with many labels, and four times
# as long for twice as many.
MAX_OWN_LINE_CHARACTERS = 16 << 10
# A part of the time that a job waits for its reports; 10,000 lines need a third of it.
OWN_TIMEOUT_SECONDS = 1.0
# Of bad lines, the others are counted.
MAX_PROBLEMS = 10

HELP = {
    "info": "Always 1; the labels are the job's declaration.",
    "last_start_timestamp_seconds": "When the latest run started.",
    "last_completion_timestamp_seconds": "When the latest run ended.",
    "last_success_timestamp_seconds": "When the latest successful run ended.",
    "last_exit_code": "Exit code of the latest run, 128+N for signal N; 0 for a success.",
    "last_result": "Always 1; the label is the result of the latest run.",
    "last_retries": "How many tries of the latest run failed before its last one.",
    "last_output": "Always 1; the label has the last lines of the latest run, which failed.",
    "last_duration_seconds": "How long the latest run took.",
    "last_cpu_seconds": "CPU time, user and system, of the latest run.",
    "last_max_rss_bytes": "Peak memory of the latest run: of its unit under systemd, page cache "
    "included, else of its largest process.",
    "deadline_timestamp_seconds": "A success must arrive before this.",
    "max_runtime_seconds": "A run longer than this is stuck; +Inf when no limit was declared.",
    "grace_seconds": "How late a success may be beyond its allowed runtime, with the random delay.",
    "unit_info": "Always 1; the label is the systemd unit of the latest run, empty without one.",
    "report_delay_seconds": "How long the latest report waited until it could be delivered.",
}


class Families:
    """Metric families as a registry that prometheus_client can expose and push."""

    def __init__(self, families: Iterable[Metric]) -> None:
        """Hold the families."""
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        return iter(self._families)


class OwnMetrics(NamedTuple):
    """A job's own metrics that may be pushed, and sentences about what may not be."""

    families: list[Metric]
    problems: list[str]


def gauge(name: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    """Return a family of the contract with one sample."""
    labels = labels or {}
    family = GaugeMetricFamily(PREFIX + name, HELP[name], labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def declaration(job: Job) -> list[Metric]:
    """Return the declaration of a job, a part of every report; nothing if it is damaged."""
    if job.is_damaged:
        return []
    schedule = job.schedule
    if schedule.on_calendar:
        when = "; ".join(schedule.expressions)
    elif schedule.every:
        when = f"every {spoken(schedule.every, words=4)}"
    else:
        when = f"within {spoken(schedule.max_age, words=4)}" if schedule.max_age else ""
    if schedule.paused_until:
        # In the label, so that a pause that was taken back moves the deadline.
        end = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(schedule.paused_until))
        when = "; ".join(filter(None, [when, f"paused until {end}"]))
    labels = {
        "owner": job.owner,
        "severity": job.severity,
        "kind": job.kind,
        "schedule": when,
    }
    return [
        gauge("info", 1, labels),
        gauge("max_runtime_seconds", schedule.max_runtime or math.inf),
        gauge("grace_seconds", schedule.randomized_delay + schedule.grace),
    ]


def start(job: Job, started: float, unit: str = "") -> list[Metric]:
    """Return the report of a start, which is added to the group."""
    return [
        *declaration(job),
        gauge("last_start_timestamp_seconds", started),
        # An empty label removes that of an earlier run: a failure is only added to the group.
        gauge("unit_info", 1, {"unit": unit}),
    ]


def end(job: Job, outcome: Outcome, deadline: float | None, unit: str = "") -> list[Metric]:
    """Return the report of an end; a success replaces the group, a failure is added to it."""
    families = [
        *start(job, outcome.started, unit),
        gauge("last_completion_timestamp_seconds", outcome.ended),
        gauge("last_exit_code", outcome.exit_code),
        gauge("last_result", 1, {"result": outcome.result}),
        gauge("last_duration_seconds", outcome.duration_seconds),
    ]
    if outcome.cpu_seconds is not None:
        families.append(gauge("last_cpu_seconds", outcome.cpu_seconds))
    if outcome.max_rss_bytes is not None:
        families.append(gauge("last_max_rss_bytes", outcome.max_rss_bytes))
    if outcome.retries is not None:
        families.append(gauge("last_retries", outcome.retries))
    if outcome.output is not None and not outcome.is_success:
        families.append(gauge("last_output", 1, {"output": outcome.output}))
    if outcome.is_success:
        families.append(gauge("last_success_timestamp_seconds", outcome.ended))
        if deadline is not None:
            families.append(gauge("deadline_timestamp_seconds", deadline))
    return families


def merge(older: Iterable[Metric], newer: Iterable[Metric]) -> list[Metric]:
    """Return the families of both, as POST does: a newer family replaces an older one."""
    return list({family.name: family for family in [*older, *newer]}.values())


def exposed_type(family: Metric) -> str:
    """Return the type of a family in the text format."""
    return "untyped" if family.type == "unknown" else family.type


def retyped(family: Metric, kind: str) -> Metric | None:
    """Return a family as another type; None where a series would not stay the same number."""
    if {kind, exposed_type(family)} - {*PLAIN_TYPES}:
        return None
    return _as(family, kind)


def is_own(family: Metric) -> bool:
    """Return whether a family is the job's own, not one of the contract."""
    return not family.name.startswith(PREFIX)


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a sample without those of its group."""
    return {name: value for name, value in labels.items() if name not in GROUPING_LABELS}


def samples(family: Metric) -> Samples:
    """Return the samples of a family in the shape of `Groups`."""
    return [(own_labels(sample.labels), float(sample.value)) for sample in family.samples]


def render(families: Iterable[Metric]) -> str:
    """Return families in the text format.

    The client library would give each counter the suffix `_total`.
    """
    families = list(families)
    counters = {family.name for family in families if family.type == "counter"}
    plain = [_as(family, "untyped") if family.name in counters else family for family in families]
    return PLAIN_TYPE_LINE.sub(
        lambda line: f"# TYPE {line[1]} counter" if line[1] in counters else line[0],
        generate_latest(Families(plain)).decode(),
    )


def parse(text: str) -> list[Metric]:
    """Return the families of a text that `render` made."""
    types = dict(PLAIN_TYPE_LINE.findall(text))
    return [
        _as(family, types[family.name]) if family.name in types else family
        for family in text_string_to_metric_families(
            PLAIN_TYPE_LINE.sub(r"# TYPE \1 untyped", text)
        )
    ]


def _as(family: Metric, kind: str) -> Metric:
    """Return a family as another type."""
    changed = Metric(family.name, family.documentation, kind)
    changed.samples = family.samples
    return changed


def read_own(path: Path) -> OwnMetrics:
    """Return the metrics that a job wrote; none when it wrote no file."""
    try:
        content = files.read(path, MAX_OWN_BYTES + 1)
    except FileNotFoundError:
        return OwnMetrics([], [])
    except OSError as error:
        return OwnMetrics([], [str(error.strerror)])
    if len(content) > MAX_OWN_BYTES:
        return OwnMetrics([], [f"{path}: larger than {MAX_OWN_BYTES} bytes"])
    own = check_own(decode(content), MAX_OWN_LINES, OWN_TIMEOUT_SECONDS)
    return OwnMetrics(own.families, [f"{path}, {problem}" for problem in own.problems])


def decode(content: bytes) -> str:
    """Return a text, also that of a PowerShell which begins with a byte order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


class _Line(NamedTuple):
    """A line of a text with a sample, and its number."""

    number: int
    sample: Sample


class _Problem(NamedTuple):
    """Why a line is left out; `name` is that of its series, if it has one."""

    number: int
    name: str
    reason: str


def check_own(
    text: str, max_lines: float = math.inf, timeout_seconds: float = math.inf
) -> OwnMetrics:
    """Return the metrics of a text in the text format that Pushgateway will take.

    Pushgateway would refuse the whole push for one bad line: such a line becomes a problem, and
    its family is left out, since a part of one would be wrong. So are the lines after `max_lines`,
    or after the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    lines: list[_Line] = []
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    problems: list[_Problem] = []
    cut = ""
    # Not splitlines(): for a gateway, only \n ends a line.
    texts = text.split("\n")
    for number, line in enumerate(texts, start=1):
        if number > max_lines or time.monotonic() > deadline:
            limit = f"{max_lines} lines" if number > max_lines else f"{timeout_seconds:g} s"
            cut = f"line {number} and all after it are left out: the limit is {limit}"
            texts = texts[number - 1 :]
            break
        try:
            if len(line) > MAX_OWN_LINE_CHARACTERS:
                raise ValueError(f"longer than {MAX_OWN_LINE_CHARACTERS} characters")
            if line.lstrip().startswith("#"):
                words = line.split(None, 3)
                if len(words) > 2 and words[0] == "#" and words[1] in ("TYPE", "HELP"):
                    _check_name(words[2])
                    if words[1] == "TYPE":
                        _check_type(words, types)
                    else:
                        helps[words[2]] = parse(line + "\n")[0].documentation
            elif line.strip():
                lines.append(_Line(number, _sample(line)))
        except ValueError as error:
            # Comments are no part of a family that it could not do without.
            name = SERIES_NAME.match(line)
            problems.append(_Problem(number, name[1] if name else "", str(error)))
    families, more = _families(lines, types, helps)
    problems += more
    names = [problem.name for problem in problems if problem.reason != REPEATED]
    if cut:
        names += [name[1] for name in map(SERIES_NAME.match, texts) if name]
    incomplete = {family_name(name, types) for name in names} & {*families}
    sentences = [_sentence(problem, types, incomplete) for problem in sorted(problems)]
    more_lines = len(sentences) - MAX_PROBLEMS
    del sentences[MAX_PROBLEMS:]
    if cut:
        sentences.append(cut + "".join(f", and so is all of {name}" for name in sorted(incomplete)))
    if more_lines > 0:
        sentences.append(f"{more_lines} more bad lines")
    return OwnMetrics(
        [family for name, family in families.items() if name not in incomplete], sentences
    )


def _families(
    lines: Iterable[_Line], types: Mapping[str, str], helps: Mapping[str, str]
) -> tuple[dict[str, Metric], list[_Problem]]:
    """Return the families of samples, and what is wrong about series of a family."""
    families: dict[str, Metric] = {}
    problems = []
    seen = set()
    for number, sample in lines:
        name = family_name(sample.name, types)
        kind = types.get(name, "gauge" if name in WELL_KNOWN else "untyped")
        key = (sample.name, *sorted(sample.labels.items()))
        whole = _whole(sample.name, types) or name
        if key in seen:
            reason = REPEATED
        elif whole != name:
            reason = f"{sample.name} is a part of the {types[whole]} {whole}"
        else:
            reason = _misfit(sample, name, kind)
        seen.add(key)
        if reason:
            problems.append(_Problem(number, whole, reason))
            continue
        if name not in families:
            families[name] = Metric(name, helps.get(name, WELL_KNOWN.get(name, "")), kind)
        families[name].samples.append(sample)
    return families, problems


def _misfit(sample: Sample, name: str, kind: str) -> str:
    """Return why a sample cannot be in its family; nothing if it can."""
    if kind not in PARTS:
        return ""
    suffix = sample.name[len(name) :]
    if suffix not in PARTS[kind]:
        return f"{name} is a {kind}, which has no series {sample.name}"
    label = PARTS[kind][suffix]
    if label and not _is_number(sample.labels.get(label, "")):
        return f"{sample.name} needs a number as {label}"
    return ""


def _sentence(problem: _Problem, types: Mapping[str, str], incomplete: Set[str]) -> str:
    """Return a sentence about a problem."""
    family = family_name(problem.name, types)
    is_alone = problem.reason == REPEATED or family not in incomplete
    rest = "" if is_alone else f", and so is all of {family}"
    return f"line {problem.number} is left out{rest}: {problem.reason}"


def family_name(name: str, types: Mapping[str, str]) -> str:
    """Return the family of a sample, by the TYPE lines."""
    return name if name in types else _whole(name, types) or name


def _whole(name: str, types: Mapping[str, str]) -> str:
    """Return the histogram or summary of which a name is a part; empty without one."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = name[: -len(suffix)]
        if name.endswith(suffix) and suffix in PARTS.get(types.get(base, ""), {}):
            return base
    return ""


def _check_name(name: str) -> None:
    """Raise ValueError unless a job may use a metric name."""
    if not METRIC_NAME.match(name):
        raise ValueError(f"{name[:80]!r} is not a metric name")
    if name.startswith(PREFIX) or name in RESERVED:
        raise ValueError(f"{name} is not the job's to set")


def _check_type(words: list[str], types: dict[str, str]) -> None:
    """Add a TYPE line to the types. Raises ValueError when it is invalid."""
    kind = words[3].strip() if len(words) > 3 else ""
    kind = OPENMETRICS_TYPES.get(kind, kind)
    if kind not in (*PLAIN_TYPES, *PARTS):
        raise ValueError(f"{kind[:80]!r} is not a type")
    if words[2] in types:
        raise ValueError(f"the type of {words[2]} once more")
    types[words[2]] = kind


def _sample(line: str) -> Sample:
    """Return the sample of a line as a gateway stores it. Raises ValueError.

    Exemplar and timestamp, which it does not take, are cut off; it sets the labels of the group.
    """
    parts = SAMPLE_LINE.match(line)
    if parts:
        series, value = parts["series"], parts["value"]
        if not _is_number(value):
            comma = value.replace(",", ".", 1)
            cure = f", {comma} is" if _is_number(comma) else ""
            raise ValueError(f"not a metric line ({series}: {value[:80]!r} is not a number{cure})")
        line = f"{series} {value}"
    try:
        samples = [sample for family in parse(line + "\n") for sample in family.samples]
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"not a metric line ({error})") from None
    if len(samples) != 1 or samples[0].timestamp is not None:
        raise ValueError("not a metric line")
    sample = samples[0]
    _check_name(sample.name)
    for label in sample.labels:
        if not LABEL_NAME.match(label) or label.startswith("__"):
            raise ValueError(f"{label[:80]!r} is not a label name")
    # An empty label is none.
    labels = {name: text for name, text in own_labels(sample.labels).items() if text}
    return Sample(sample.name, labels, sample.value)


def _is_number(text: str) -> bool:
    """Return whether a text is a number for a gateway."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
