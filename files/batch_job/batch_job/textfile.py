"""Writes groups to files for node_exporter's textfile collector, instead of a Pushgateway.

https://github.com/prometheus/node_exporter#textfile-collector. A push changes the file of a group
as Pushgateway would change the group, so a scrape with `honor_labels` returns the same series.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from prometheus_client.metrics_core import Metric

from batch_job import files, metrics
from batch_job.gateway import ConflictError, Gateway, GatewayError, Group, Groups

# node_exporter reads the files of this suffix.
SUFFIX = ".prom"
# How long to wait for another reporter that writes the same file.
LOCK_TIMEOUT_SECONDS = 3.0
# A temporary file of this age is from a reporter that was killed.
ABANDONED_AFTER_SECONDS = 2.0
MAX_FILE_BYTES = 16 << 20
# When two files differ in the help text of a metric, node_exporter exposes only one of them. So
# all files have the same text, in all versions of this program.
HELP = "Reported by batch-job."
PUSH_TIME = "push_time_seconds"
# node_exporter's own metrics. When two differ, it exposes only one of them.
RESERVED = ("go_", "node_", "process_", "promhttp_")
COMMENT = re.compile(r"^# (HELP|TYPE) (\S+) (.*)$", re.MULTILINE)
SAMPLE = re.compile(r"^[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)", re.MULTILINE)


def push(gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool) -> None:
    """Replace a group by the families, or add them to it. Raises GatewayError."""
    labelled = [_labelled(family, group) for family in families]
    own = [family for family in labelled if metrics.is_own(family)]
    labelled.append(_labelled(_push_time(), group))
    name = _file_name(group)
    with _opened(gateway) as directory, _locked(directory, name) as new:
        before = _read(directory, name)
        if own:
            _check_own(gateway, directory, name, own)
        if not replace:
            labelled = metrics.merge(_parse(before), labelled)
        _write(directory, name, new, metrics.render(labelled))


def delete(gateway: Gateway, group: Group) -> None:
    """Delete a group, if it is there. Raises GatewayError."""
    name = _file_name(group)
    with _opened(gateway) as directory, _locked(directory, name), suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def groups(gateway: Gateway) -> Groups:
    """Return all groups of jobs. Raises GatewayError."""
    groups: Groups = {}
    with _opened(gateway) as directory:
        for _name, text in _files(directory, metrics.PREFIX):
            families = {family.name: family for family in _parse(text)}
            for sample in families[PUSH_TIME].samples if PUSH_TIME in families else ():
                group = Group(sample.labels.get("job", ""), sample.labels.get("instance", ""))
                groups[group] = {name: metrics.samples(family) for name, family in families.items()}
    return groups


def _push_time() -> Metric:
    """Return the metric that Pushgateway adds to each group; alert rules read it."""
    family = Metric(PUSH_TIME, HELP, "gauge")
    family.add_sample(PUSH_TIME, {}, time.time())
    return family


def _labelled(family: Metric, group: Group) -> Metric:
    """Return a family with the group's labels."""
    labelled = Metric(family.name, HELP, family.type)
    for sample in family.samples:
        # Without an empty instance, a scrape would add node_exporter's.
        labels = {**sample.labels, "job": group.job, "instance": group.instance}
        labelled.add_sample(sample.name, labels, sample.value)
    return labelled


def _check_own(gateway: Gateway, directory: int, name: str, own: Sequence[Metric]) -> None:
    """Raise ConflictError when node_exporter would not expose all families.

    When two jobs begin to differ at the same moment, both are rejected with their next report.
    """
    families = {sample.name: family.name for family in own for sample in family.samples}
    families.update({family.name: family.name for family in own})
    comments = _names(metrics.render(own))
    types: dict[str, set[str]] = {}
    reasons = []
    for other, content in _files(directory, follow=True):
        if other == name:
            continue
        for metric, theirs in _names(content).items():
            ours = comments.get(metric, theirs)
            if ours != theirs:
                is_type_alone = {**ours, "TYPE": ""} == {**theirs, "TYPE": ""} and "TYPE" in theirs
                kinds = {ours["TYPE"], theirs["TYPE"]} if is_type_alone else set()
                types.setdefault(families[metric], set()).update(kinds)
                reasons.append(f"a {metric} of another type or help text in {other}")
    if reasons:
        raise ConflictError(f"{gateway.url} has {', and '.join(reasons)}", types)
    reserved = [metric for metric in comments if metric.startswith(RESERVED)]
    if reserved:
        words = ", ".join(reserved)
        message = f"{gateway.url} is node_exporter's, which has its own {words}"
        raise ConflictError(message, {families[metric]: set() for metric in reserved})


def _names(text: str) -> dict[str, dict[str, str]]:
    """Return the TYPE and HELP, if there are any, of each name that a text uses.

    node_exporter invents what is missing, with the file's path in the help text:
    https://github.com/prometheus/node_exporter/issues/3052. An `x_count` conflicts with a
    histogram `x`.
    """
    comments: dict[str, dict[str, str]] = {}
    for keyword, family, value in COMMENT.findall(text):
        comments.setdefault(family, {})[keyword] = value
    types = {family: keywords.get("TYPE", "") for family, keywords in comments.items()}
    names = {}
    for name in SAMPLE.findall(text):
        family = metrics.family_name(name, types)
        names[name] = names[family] = comments.get(family, {})
    return names


def _parse(text: str) -> list[Metric]:
    """Return the families of a file; none if it is damaged."""
    try:
        return metrics.parse(text)
    except (ValueError, LookupError):
        return []


def _file_name(group: Group) -> str:
    """Return the name of a group's file; neither job nor instance contains an `@`."""
    key = f"{group.job}@{group.instance}"
    if len(key) > 200:
        key = f"@{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    return f"{metrics.PREFIX}{key}{SUFFIX}"


@contextmanager
def _opened(gateway: Gateway) -> Iterator[int]:
    """Open the directory. Raises GatewayError, also for an OSError inside the block."""
    try:
        directory = os.open(gateway.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise GatewayError(f"{gateway.url} cannot be opened: {error.strerror}") from error
    try:
        yield directory
    except OSError as error:
        raise GatewayError(f"{gateway.url} cannot be used: {error.strerror}") from error
    finally:
        os.close(directory)


@contextmanager
def _locked(directory: int, name: str) -> Iterator[int]:
    """Create the temporary file that replaces a file; it is the lock, too. Raises OSError.

    flock() would let everybody who can read the directory block all reports, and a private lock
    file would exclude other users who report here. This needs the right to write to the directory.
    """
    temporary = _temporary(name)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        with suppress(FileExistsError):
            new = os.open(temporary, flags, 0o644, dir_fd=directory)
            break
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, f"{name} is being written by somebody else")
        with suppress(FileNotFoundError):
            modified = os.stat(temporary, dir_fd=directory, follow_symlinks=False).st_mtime
            if abs(time.time() - modified) > ABANDONED_AFTER_SECONDS:
                os.unlink(temporary, dir_fd=directory)
                continue
        time.sleep(0.01)
    try:
        yield new
    finally:
        with suppress(OSError):
            if _is_at(directory, temporary, new):
                os.unlink(temporary, dir_fd=directory)
        os.close(new)


def _temporary(name: str) -> str:
    """Return the name of a temporary file, which node_exporter does not read."""
    return f".{name}.new"


def _is_at(directory: int, name: str, handle: int) -> bool:
    """Return whether a name still belongs to an open file. Raises OSError."""
    current = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return os.path.samestat(current, os.fstat(handle))


def _files(directory: int, prefix: str = "", follow: bool = False) -> Iterator[tuple[str, str]]:
    """Yield name and text of each readable file for node_exporter, which follows links."""
    for name in sorted(os.listdir(directory)):
        if name.startswith(prefix) and name.endswith(SUFFIX):
            with suppress(OSError):
                yield name, _read(directory, name, follow)


def _read(directory: int, name: str, follow: bool = False) -> str:
    """Return the text of a plain file, empty when there is none. Raises OSError for any other."""
    try:
        return files.read(name, MAX_FILE_BYTES, directory, follow).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _write(directory: int, name: str, new: int, text: str) -> None:
    """Replace a file by its temporary one, readable for everybody. Raises OSError."""
    with open(new, "wb", closefd=False) as file:
        # Whatever the umask is: node_exporter is another user.
        os.fchmod(new, 0o644)
        file.write(text.encode())
        file.flush()
        os.fsync(new)
    if not _is_at(directory, _temporary(name), new):
        raise OSError(errno.EBUSY, f"{name} is being written by somebody else")
    os.replace(_temporary(name), name, src_dir_fd=directory, dst_dir_fd=directory)
