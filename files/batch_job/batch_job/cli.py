"""The verbs of the command line.

Nothing that costs time is imported before the job of `run` has started.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from batch_job import runner
from batch_job.arguments import ENVIRONMENT, parse
from batch_job.exit_status import (
    BAD_DATA,
    LATER,
    NO_PERMISSION,
    SOFTWARE,
    MisuseError,
    end_as,
)
from batch_job.log import Log, log_error
from batch_job.metrics_file import VARIABLE, MetricsFile

if TYPE_CHECKING:
    import threading

    from batch_job.config import Job
    from batch_job.gateway import Gateway
    from batch_job.host import Host
    from batch_job.outcome import Outcome
    from batch_job.reporter import Reporter

# Options of a declaration that replace a field of the same name.
DURATIONS = ("grace", "max_runtime")
FIELDS = (
    "owner",
    "severity",
    "kind",
    "warning_exit_codes",
    "retries",
    "retry_delay",
    "report_output",
    "backup_size_of",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit status."""
    _occupy_closed_streams()
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        status = VERBS[arguments.verb](arguments)
        if sys.stdout:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except MisuseError as error:
        log_error(str(error))
        return error.status
    except Exception as error:
        log_error(f"{type(error).__name__}: {error}")
        return SOFTWARE


def run(arguments: argparse.Namespace) -> int:
    """Run a command and report it; the exit status is the command's."""
    if arguments.lock and not _lock(arguments):
        log_error(f"{arguments.job}: it is still running, this run is left out")
        return LATER
    own_metrics = MetricsFile(os.environ)
    start_report = _StartReport(arguments)
    limits = _limits(arguments)
    done = runner.run(
        arguments.command,
        {**os.environ, VARIABLE: own_metrics.path},
        limits,
        start_report.send,
    )
    with _errors_logged():
        reporter = start_report.reporter()
        if reporter is not None:
            reporter.ended(_with_output(done, limits.report_output), own_metrics.written())
    with _errors_logged():
        own_metrics.remove()
    return end_as(done.outcome.exit_code, done.ended_by)


def retry(arguments: argparse.Namespace) -> int:
    """Run a command of a unit, again if it fails; the exit status is that of its last try."""
    limits = runner.Limits(
        retries=arguments.retries or 0,
        retry_delay=arguments.retry_delay or 0,
        warning_exit_codes=arguments.warning_exit_codes or (),
    )
    done = runner.run(arguments.command, os.environ, limits, lambda _started: None)
    with _errors_logged():
        arguments.retries_file.write_text(str(done.outcome.retries or 0))
    return end_as(done.outcome.exit_code, done.ended_by)


def _with_output(done: runner.Run, lines: int) -> Outcome:
    """Return the outcome of a run, with its last lines if it failed and they are asked for."""
    if done.errors is None or done.outcome.is_success:
        return done.outcome
    from batch_job.output import last_lines

    return done.outcome._replace(output=last_lines(done.errors, lines))


class _StartReport:
    """The report of a start, sent beside the job.

    What it imports takes long enough to spoil the duration of a short job.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Send nothing yet."""
        self._arguments = arguments
        self._reporter: Reporter | None = None
        self._is_sent: threading.Event | None = None
        self._messages: list[str] = []
        self._is_over = False

    def send(self, started: float) -> None:
        """Send the report in a thread; without threads, the report of the end has it all."""
        import threading

        is_sent = threading.Event()
        thread = threading.Thread(target=self._send, args=(started, is_sent), daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self._is_sent = is_sent

    def reporter(self) -> Reporter | None:
        """Return the job's reporter when the command is over; None without a gateway."""
        self._is_over = True
        if self._is_sent is None:
            return _reporter(self._arguments, self._log)
        self._is_sent.wait()
        self._write_messages()
        return self._reporter

    def _send(self, started: float, is_sent: threading.Event) -> None:
        with _errors_logged(self._log):
            try:
                self._reporter = _reporter(self._arguments, self._log)
                self._reporter.started({"started": started})
            finally:
                is_sent.set()
            self._reporter.finish()

    def _log(self, message: str) -> None:
        """Log a message, but not in the middle of the command's output."""
        self._messages.append(message)
        if self._is_over:
            self._write_messages()

    def _write_messages(self) -> None:
        with suppress(IndexError):
            while True:
                log_error(self._messages.pop(0))


def start(arguments: argparse.Namespace) -> int:
    """Report the start of a unit's run."""
    from batch_job import unit
    from batch_job.reporter import UNIT_START_TIMEOUT_SECONDS

    reporter = _reporter(arguments)
    reporter.started(unit.started(), UNIT_START_TIMEOUT_SECONDS)
    reporter.finish()
    return 0


def finish(arguments: argparse.Namespace) -> int:
    """Report the end of a unit's run, and why its sandbox may have ended it."""
    from batch_job import accounting, journal, sandbox, unit
    from batch_job.outcome import START_FAILED
    from batch_job.reporter import UNIT_END_TIMEOUT_SECONDS

    deadline = time.monotonic() + UNIT_END_TIMEOUT_SECONDS
    if arguments.on_failure:
        name = os.environ.get("MONITOR_UNIT", "")
        invocation = os.environ.get("MONITOR_INVOCATION_ID", "")
        reporter = _reporter(arguments, unit=name)
        outcome = unit.failed(os.environ)
    else:
        name = accounting.unit()
        invocation = os.environ.get("INVOCATION_ID", "")
        reporter = _reporter(arguments)
        outcome = unit.ended(os.environ, reporter.memory())
    if outcome is not None:
        if arguments.retries_file:
            outcome = outcome._replace(retries=_retries(arguments.retries_file))
        if reporter.output_lines and not outcome.is_success:
            is_started = outcome.result != START_FAILED
            output = journal.output(invocation, reporter.output_lines, is_started)
            outcome = outcome._replace(output=output)
        left = deadline - time.monotonic()
        outcome = reporter.ended(outcome, arguments.metrics_file, left)
        if not outcome.is_success:
            for hint in sandbox.hints(name):
                log_error(f"{arguments.job}: {hint}")
    return 0


def _retries(path: Path) -> int | None:
    """Return what `retry` wrote into a file, which is the job's user's; None if it could not."""
    from batch_job import files
    from batch_job.exit_status import count

    try:
        return count(files.read(path, 3).decode("ascii"))
    except (OSError, ValueError):
        return None


def register(arguments: argparse.Namespace) -> int:
    """Register jobs at the gateways."""
    from batch_job import registration
    from batch_job.config import declared_jobs
    from batch_job.gateway import CredentialsError, RejectedError
    from batch_job.timers import scheduled

    host = _host(arguments)
    changes: list[str] = []
    if arguments.all:
        jobs = [scheduled(job) for job in declared_jobs(arguments.config_directory).values()]
        names = [job.name for job in jobs]
        changes += registration.forget_undeclared(host, names, arguments.dry_run)
    else:
        jobs = [_job(arguments)]
    done = registration.register(host, jobs, declared=arguments.all, dry_run=arguments.dry_run)
    changes += done.changes
    for line in changes:
        print(line)
    for error in done.errors:
        log_error(str(error))
    if not done.errors and not changes:
        print("nothing changed")
    for kind, status in ((CredentialsError, NO_PERMISSION), (RejectedError, BAD_DATA)):
        if any(isinstance(error, kind) for error in done.errors):
            return status
    return LATER if done.errors else 0


def push(arguments: argparse.Namespace) -> int:
    """Push metrics from standard input; all of them or, when one line is bad, none."""
    from batch_job import metrics
    from batch_job.delivery import Delivery
    from batch_job.gateway import RejectedError

    own = metrics.check_own(metrics.decode(sys.stdin.buffer.read()))
    for problem in own.problems:
        log_error(f"{problem}; nothing is pushed".replace(" is left out", ""))
    if own.problems:
        return BAD_DATA
    host = _host(arguments)
    report = host.report(arguments.job, own.families, arguments.replace)
    errors = Delivery(host, report).start().finish()
    return BAD_DATA if any(isinstance(error, RejectedError) for error in errors) else 0


def delete(arguments: argparse.Namespace) -> int:
    """Delete a job's group, its kept reports and its memory."""
    from batch_job.gateway import GatewayError

    host = _host(arguments)
    group = host.group(arguments.job)
    host.spool.forget_group(group)
    host.state.forget(arguments.job)
    status = 0
    for gateway in host.gateways:
        transport = host.transport(gateway)
        try:
            # Who may not list what is there may still delete.
            with suppress(GatewayError):
                if group not in transport.groups(gateway):
                    words = f"{gateway.url} has nothing of instance {group.instance!r}"
                    print(f"{arguments.job}: {words}")
            transport.delete(gateway, group)
        except GatewayError as error:
            log_error(f"{arguments.job}: {error}")
            status = LATER
    return status


def flush(arguments: argparse.Namespace) -> int:
    """Send the kept reports."""
    from batch_job.delivery import flush as send_kept

    host = _host(arguments)
    _check_readable(arguments)
    delivered = send_kept(host, host.gateways)
    urls = {gateway.url for gateway in host.gateways}
    waiting = [kept for kept in host.spool.kept() if kept.url in urls]
    if delivered or waiting:
        print(f"{delivered} kept reports delivered, {len(waiting)} wait")
    return LATER if waiting else 0


def status(arguments: argparse.Namespace) -> int:
    """Print the table of this host's jobs."""
    from batch_job.config import declared_jobs
    from batch_job.status import table

    host = _host(arguments, needs_gateway=False)
    _check_readable(arguments)
    declared = {
        name: job.schedule.paused_until
        for name, job in declared_jobs(arguments.config_directory).items()
    }
    kept = host.spool.kept()
    others = []
    if os.geteuid() == 0 and not arguments.state_directory:
        import pwd

        from batch_job import users

        others = users.jobs(pwd.getpwall(), log_error)
    print(table(declared, host.state, kept, time.time(), others, arguments.names))
    urls = {gateway.url for gateway in host.gateways}
    for url in sorted({report.url for report in kept} - urls):
        log_error(
            f"reports wait for {url}, which is no gateway of this host: `batch-job flush --gateway "
            "URL` sends them, `batch-job delete --gateway URL --job JOB` forgets them"
        )
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check everything that can be checked without a gateway."""
    import pwd

    from batch_job.config import ConfigError, declared_jobs
    from batch_job.schedule import ScheduleError, deadlines
    from batch_job.timers import check as check_unit
    from batch_job.timers import scheduled

    gateways = _host(arguments).gateways
    jobs = declared_jobs(arguments.config_directory)
    for job in jobs.values():
        try:
            pwd.getpwnam(job.user or "root")
        except KeyError:
            raise ConfigError(f"job {job.name}: there is no user {job.user!r} here") from None
    try:
        for job in jobs.values():
            if job.unit:
                check_unit(job)
        deadlines([scheduled(job).schedule for job in jobs.values()], time.time())
    except ScheduleError as error:
        raise ConfigError(str(error)) from error
    print(f"{len(gateways)} gateways, {len(jobs)} declared jobs: fine")
    return 0


def badge(arguments: argparse.Namespace) -> int:
    """Print the state of a job as a picture."""
    from batch_job.badge import endpoint, state_of, svg
    from batch_job.gateway import GatewayError

    instance = _host(arguments, needs_gateway=False).instance
    [prometheus] = _gateways(arguments, [arguments.prometheus], None)
    try:
        state = state_of(prometheus, arguments.job, instance)
    except GatewayError as error:
        log_error(f"{arguments.job}: {error}")
        return LATER
    print((endpoint if arguments.json else svg)(arguments.job, state))
    return 0


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    verb.__name__: verb
    for verb in (run, retry, start, finish, register, push, delete, flush, status, check, badge)
}


def _reporter(
    arguments: argparse.Namespace, log: Log = log_error, unit: str | None = None
) -> Reporter:
    """Return the reporter of the job that the arguments name. Raises ConfigError.

    By default, the run belongs to the unit of this process, if it has one. Logs a damaged file,
    option or variable, and does without it if the rest is enough for a report.
    """
    from batch_job import accounting
    from batch_job.config import Job
    from batch_job.reporter import Reporter

    host = _host(arguments, log=log)
    try:
        job = _job(arguments)
        if job.unit:
            from batch_job.timers import scheduled

            job = scheduled(job)
    except MisuseError as error:
        log(f"{error}; the report has no declaration")
        job = _with_options(Job(arguments.job, is_damaged=True), arguments)
    unit = accounting.unit_of_run(os.environ) if unit is None else unit
    return Reporter(host._replace(log=log), job, unit)


def _host(
    arguments: argparse.Namespace, needs_gateway: bool = True, log: Log | None = None
) -> Host:
    """Return the host as options, environment and files describe it, in this order.

    Raises ConfigError; with `log`, only when the rest is not enough for a report.
    """
    from batch_job.config import Config, ConfigError, load
    from batch_job.host import Host
    from batch_job.names import instance_name
    from batch_job.spool import Spool
    from batch_job.state import State

    urls = arguments.gateway or os.environ.get(ENVIRONMENT + "GATEWAY", "").split()
    try:
        config = load(arguments.config_directory, is_needed=not urls)
    except ConfigError as error:
        if log is None or not urls:
            raise
        log(str(error))
        config = Config(os.uname().nodename)
    gateways = _gateways(arguments, urls, log) if urls else config.gateways
    if needs_gateway and not gateways:
        raise ConfigError(
            f"no gateway is configured: --gateway URL, {ENVIRONMENT}GATEWAY, "
            f"or {arguments.config_directory}/config.json"
        )
    instance = getattr(arguments, "instance", None)
    if instance is None:
        try:
            instance = instance_name(os.environ.get(ENVIRONMENT + "INSTANCE", config.instance))
        except ValueError as error:
            raise ConfigError(f"{ENVIRONMENT}INSTANCE: {error}") from error
    directory = _state_directory(arguments)
    return Host(instance, gateways, Spool(directory), State(directory))


def _gateways(arguments: argparse.Namespace, urls: Sequence[str], log: Log | None) -> list[Gateway]:
    """Return the gateways of the options.

    Raises ConfigError for one that makes no sense; with `log`, only when none is left.
    """
    from batch_job.config import ConfigError
    from batch_job.gateway import Gateway, check_gateway, is_directory

    credentials = {name: getattr(arguments, name) for name in Gateway._fields[1:]}
    # Beside a Pushgateway, directories get no credentials.
    is_mixed = not all(map(is_directory, urls))
    gateways, problems = [], []
    for url in urls:
        gateway = Gateway(url, **({} if is_mixed and is_directory(url) else credentials))
        try:
            check_gateway(gateway)
            gateways.append(gateway)
        except ValueError as error:
            problems.append(str(error))
    if problems and (log is None or not gateways):
        raise ConfigError(problems[0])
    if log is not None:
        for problem in problems:
            log(problem)
    return gateways


def _job(arguments: argparse.Namespace) -> Job:
    """Return the declared job with the options of the command line. Raises ConfigError."""
    from batch_job.config import declared_job

    return _with_options(declared_job(arguments.config_directory, arguments.job), arguments)


def _with_options(job: Job, arguments: argparse.Namespace) -> Job:
    """Return a job with the options of the command line."""
    schedule = job.schedule
    # The parser takes one of these.
    if arguments.max_age or arguments.on_calendar or arguments.every:
        schedule = schedule._replace(
            on_calendar=arguments.on_calendar,
            timezone=None,
            every=arguments.every,
            max_age=arguments.max_age or schedule.max_age,
        )
    options = vars(arguments).items()
    durations = {name: value for name, value in options if value and name in DURATIONS}
    fields = {name: value for name, value in options if value is not None and name in FIELDS}
    return job._replace(schedule=schedule._replace(**durations), **fields)


def _limits(arguments: argparse.Namespace) -> runner.Limits:
    """Return what the run of a job may take, without an import for jobs that nobody declares."""
    if os.path.exists(arguments.config_directory / "jobs" / f"{arguments.job}.json"):
        # The reporter logs a damaged one.
        with suppress(Exception):
            job = _job(arguments)
            runtime = job.schedule.max_runtime
            return runner.Limits(
                runtime, job.retries, job.retry_delay, job.warning_exit_codes, job.report_output
            )
    return runner.Limits(
        arguments.max_runtime,
        arguments.retries or 0,
        arguments.retry_delay or 0,
        arguments.warning_exit_codes or (),
        arguments.report_output or 0,
    )


def _state_directory(arguments: argparse.Namespace) -> Path:
    """Return the directory of kept reports and memories."""
    from batch_job.state import default_directory

    return Path(arguments.state_directory or default_directory())


class UnreadableError(MisuseError):
    """The state of this host is not for this user."""

    status = NO_PERMISSION


def _check_readable(arguments: argparse.Namespace) -> None:
    """Raise UnreadableError when reports or memories may be there and cannot be listed."""
    for name in ("jobs", "spool"):
        try:
            os.listdir(_state_directory(arguments) / name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UnreadableError(f"{error.filename}: {error.strerror}") from error


def _lock(arguments: argparse.Namespace) -> bool:
    """Lock the job until this process ends; return False when another process has locked it.

    When the lock cannot be created, log that and run the job without it.
    """
    import fcntl

    path = _state_directory(arguments) / "locks" / f"{arguments.job}.lock"
    with _errors_logged():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _occupy_closed_streams() -> None:
    """Open /dev/null in place of closed streams, for this process alone.

    A connection to a gateway would become stderr otherwise.
    """
    with suppress(OSError):
        while (handle := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
            pass
        os.close(handle)


@contextmanager
def _errors_logged(log: Log = log_error) -> Iterator[None]:
    """Log an error in one line, and go on."""
    try:
        yield
    except MisuseError as error:
        log(str(error))
    except Exception as error:
        log(f"{type(error).__name__}: {error}")
