"""Keeps groups as files for node_exporter's textfile collector, where no Pushgateway is needed.

https://github.com/prometheus/node_exporter#textfile-collector. What a Pushgateway would do to a
group is done to its file, so that a scrape with `honor_labels` finds the same series.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.config import Gateway
from batch_job.gateway import TIMEOUT, GatewayError, Group, RejectedError

# node_exporter reads the files of this suffix.
SUFFIX = ".prom"
# Seconds after which a new file that is still there is one of a reporter that was killed.
ABANDONED = 2.0
# Bytes that are read of a file.
LIMIT = 16 << 20
# When two files differ in the help text of a metric, node_exporter exposes it from one of them
# only. So all have the same, in all versions of this program.
HELP = "Reported by batch-job."
PUSH_TIME = "push_time_seconds"
# node_exporter's own metrics; of two that differ it exposes either.
RESERVED = ("go_", "node_", "process_", "promhttp_")
COMMENT = re.compile(r"^# (HELP|TYPE) (\S+) (.*)$", re.MULTILINE)
SAMPLE = re.compile(r"^[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)", re.MULTILINE)


def push(gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool) -> None:
    """Replace a group by the families, or add them to it. Raises GatewayError."""
    pushed = [family for family in families if family.samples]
    whole = [_labelled(family, group) for family in [*pushed, _push_time()]]
    own = {family.name for family in pushed} - {each.name for each in metrics.without_own(pushed)}
    name = _file_name(group)
    with _opened(gateway) as directory, _locked(directory, name) as new:
        before = _read(directory, name)
        if own:
            text = metrics.render(family for family in whole if family.name in own)
            _check_own(gateway, directory, name, text)
        if not replace:
            whole = metrics.merge(_parse(before), whole)
        _write(directory, name, new, metrics.render(whole))


def delete(gateway: Gateway, group: Group) -> None:
    """Delete a group, if it is there. Raises GatewayError."""
    name = _file_name(group)
    with _opened(gateway) as directory, _locked(directory, name), suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def groups(gateway: Gateway) -> dict[Group, dict[str, Any]]:
    """Return all groups and their metrics, in the shape of Pushgateway's API.

    Raises GatewayError.
    """
    found = {}
    with _opened(gateway) as directory:
        for _name, text in _files(directory, metrics.PREFIX):
            families = _parse(text)
            for family in families:
                if family.name == PUSH_TIME and family.samples:
                    labels = family.samples[0].labels
                    group = Group(labels.get("job", ""), labels.get("instance", ""))
                    found[group] = {each.name: _told(each) for each in families}
    return found


def _told(family: Metric) -> dict[str, Any]:
    """Return a family as Pushgateway's API tells it."""
    return {
        "metrics": [
            {"labels": sample.labels, "value": str(sample.value)} for sample in family.samples
        ]
    }


def _push_time() -> Metric:
    """Return what Pushgateway adds to each group; alert rules read it."""
    family = Metric(PUSH_TIME, HELP, "gauge")
    family.add_sample(PUSH_TIME, {}, time.time())
    return family


def _labelled(family: Metric, group: Group) -> Metric:
    """Return a family with the group's labels."""
    labelled = Metric(family.name, HELP, family.type)
    for sample in family.samples:
        # Without an empty one, a scrape would add the instance of node_exporter.
        labels = {**sample.labels, "job": group.job, "instance": group.instance}
        labelled.add_sample(sample.name, labels, sample.value)
    return labelled


def _check_own(gateway: Gateway, directory: int, name: str, text: str) -> None:
    """Raise RejectedError when node_exporter would not expose all metrics of a text.

    Of two jobs that begin to differ at the same moment, each learns it with its next report.
    """
    own = _names(text)
    for other, content in _files(directory, follow=True):
        if other == name:
            continue
        for metric, comments in _names(content).items():
            if own.get(metric, comments) != comments:
                raise RejectedError(
                    f"{gateway.url} has a {metric} of another type or help text in {other}"
                )
    for metric in own:
        if metric.startswith(RESERVED):
            raise RejectedError(f"{gateway.url} is node_exporter's, which has its own {metric}")


def _names(text: str) -> dict[str, dict[str, str]]:
    """Return type and help text, as far as they are told, of each name that a text takes.

    node_exporter makes up what is missing, with the file's path in the help text:
    https://github.com/prometheus/node_exporter/issues/3052. An `x_count` cannot be beside a
    histogram `x`.
    """
    told: dict[str, dict[str, str]] = {}
    for word, family, said in COMMENT.findall(text):
        told.setdefault(family, {})[word] = said
    types = {family: comments.get("TYPE", "") for family, comments in told.items()}
    found = {}
    for name in SAMPLE.findall(text):
        family = metrics.family_name(name, types)
        found[name] = found[family] = told.get(family, {})
    return found


def _parse(text: str) -> list[Metric]:
    """Return the families of a file; none of one that is damaged."""
    try:
        return metrics.parse(text)
    except (ValueError, LookupError):
        return []


def _file_name(group: Group) -> str:
    """Return the name of a group's file; neither job nor instance has an `@`."""
    key = f"{group.job}@{group.instance}"
    if len(key) > 200:
        key = f"@{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    return f"{metrics.PREFIX}{key}{SUFFIX}"


@contextmanager
def _opened(gateway: Gateway) -> Iterator[int]:
    """Open the directory. Raises GatewayError, also for what fails in it meanwhile."""
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
    """Make the file that is to replace another; while somebody else has one, wait.

    Everybody who may read a file or directory can hold it with flock(), and one that is nobody
    else's to read would lock out other users who report here. This takes the right to write to the
    directory, no less and no more. Raises OSError, also after some seconds.
    """
    temporary = _temporary(name)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    limit = time.monotonic() + TIMEOUT
    while True:
        with suppress(FileExistsError):
            new = os.open(temporary, flags, 0o644, dir_fd=directory)
            break
        if time.monotonic() > limit:
            raise OSError(errno.EBUSY, f"{name} is being written by somebody else")
        with suppress(FileNotFoundError):
            made = os.stat(temporary, dir_fd=directory, follow_symlinks=False).st_mtime
            if abs(time.time() - made) > ABANDONED:
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
    """Return the name of the file that is to replace another; node_exporter does not read it."""
    return f".{name}.new"


def _is_at(directory: int, name: str, handle: int) -> bool:
    """Tell whether a file is still what somebody made. Raises OSError."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return os.path.samestat(found, os.fstat(handle))


def _files(directory: int, prefix: str = "", follow: bool = False) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file that node_exporter reads, but for what cannot be read.

    It follows links.
    """
    for name in sorted(os.listdir(directory)):
        if name.startswith(prefix) and name.endswith(SUFFIX):
            with suppress(OSError):
                yield name, _read(directory, name, follow)


def _read(directory: int, name: str, follow: bool = False) -> str:
    """Return the text of a file, nothing when there is none. Raises OSError for no plain file.

    The reporter may be root and the directory another user's, whose links may lead to devices that
    would notice being opened, and to files of the kernel, which have no size and may block.
    """
    link = 0 if follow else os.O_NOFOLLOW
    try:
        handle = os.open(name, os.O_PATH | os.O_CLOEXEC | link, dir_fd=directory)
    except FileNotFoundError:
        return ""
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        opened = os.open(f"/proc/self/fd/{handle}", flags)
        with open(opened, encoding="utf-8", errors="replace") as file:
            return file.read(min(found.st_size, LIMIT))
    except OSError as error:
        raise OSError(error.errno, f"{name}: {error.strerror}") from error
    finally:
        os.close(handle)


def _write(directory: int, name: str, new: int, text: str) -> None:
    """Replace a file by a new one that everybody may read, as a whole or not at all.

    Raises OSError.
    """
    with open(new, "wb", closefd=False) as file:
        # Whatever the umask says: node_exporter is another user.
        os.fchmod(new, 0o644)
        file.write(text.encode())
        file.flush()
        os.fsync(new)
    if not _is_at(directory, _temporary(name), new):
        raise OSError(errno.EBUSY, f"{name} is being written by somebody else")
    os.replace(_temporary(name), name, src_dir_fd=directory, dst_dir_fd=directory)
