"""Parses the command line and the environment variables that stand for options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from batch_job import __version__
from batch_job.durations import duration
from batch_job.exit_status import USAGE, count, exit_codes
from batch_job.names import SEVERITIES, instance_name, job_name

# Options as environment variables; useful in CI.
ENVIRONMENT = "BATCH_JOB_"
# What systemd sets for a run of a unit.
SYSTEMD_VARIABLES = {"PATH", "INVOCATION_ID", "SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"}

DESCRIPTION = """\
Reports runs of batch jobs to Prometheus Pushgateway: that they started, how they ended, what they
cost, and until when the next success must arrive. It never harms the job: whatever happens to a
report, the job's streams, signals and exit status are its own. A report that cannot be delivered
is kept and sent later.

A gateway can also be a directory, as in file:///var/lib/prometheus/node-exporter: node_exporter's
textfile collector exposes what is written there, for a scrape with honor_labels.

Gateways and the host's declared jobs are read from /etc/batch-job, if there is such a directory.
"""
EPILOG = """\
examples:
  batch-job run --job nightly --max-age 26h -- /usr/local/bin/nightly --all
  batch-job run --job report --on-calendar 'Mon..Fri 06:00' --max-runtime 2h --lock -- make report
  echo 'backup_size_bytes 4096' | batch-job push --job nightly
  batch-job status

`batch-job VERB --help` explains a verb.
"""
RUN_EPILOG = """\
Everything after -- is the command and its arguments; no shell reads them. The exit status is the
command's. It is 127 when there is no such command, 126 when it cannot be executed, 75 when --lock
finds the job still running, and 64 when these arguments make no sense (then nothing was run).

What the command writes into the file named by $BATCH_JOB_METRICS, in Prometheus' text format, is
pushed along with its result. Afterwards, the file and what is beside it are removed, unless the
variable was already set.

environment:
  Each option for gateways can be given as a variable, such as BATCH_JOB_GATEWAY (several URLs,
  separated by spaces), BATCH_JOB_PASSWORD_FILE or BATCH_JOB_INSTANCE.
"""


class Parser(argparse.ArgumentParser):
    """Exits with the status of sysexits.h when the arguments make no sense."""

    def error(self, message: str) -> Any:
        """Print the usage and the error."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the arguments, with `verb` and, for `run`, the `command` after the first `--`.

    Raises SystemExit with status 64, after an error on stderr, when they make no sense.
    """
    words, command = list(words), []
    if words[:1] in (["start"], ["finish"]) and "INVOCATION_ID" in os.environ:
        _forget_environment()
    if words[:1] in (["run"], ["retry"]) and "--" in words:
        separator = words.index("--")
        words, command = words[:separator], words[separator + 1 :]
    parser = all_verbs()
    arguments, unknown = parser.parse_known_args(words)
    if arguments.verb in ("run", "retry") and not command:
        parser.error(f"{arguments.verb}: the command goes after --")
    if unknown:
        parser.error(f"{arguments.verb}: unrecognized arguments: {' '.join(unknown)}")
    arguments.command = command
    return arguments


def _forget_environment() -> None:
    """Keep only what systemd sets for the run in a unit's environment.

    The rest belongs to the job, whose user may control it, and the reporter is root.
    """
    for name in set(os.environ) - SYSTEMD_VARIABLES:
        # Only `--on-failure` reads these, in a unit of the role's.
        if not name.startswith("MONITOR_"):
            del os.environ[name]


def all_verbs() -> Parser:
    """Return the parser of all verbs."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = Parser("batch-job", description=DESCRIPTION, epilog=EPILOG, formatter_class=formatter)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    gateways, tries = _gateway_options(), _tries_options()
    declared = _declaration_options(tries)
    host = Parser(add_help=False)
    host.add_argument(
        "--instance",
        type=_type(instance_name),
        help="the host (default: as configured, or this host's name); '' for jobs without one",
    )
    group = Parser(add_help=False, parents=[host])
    group.add_argument("--job", required=True, type=_type(job_name), help="the job's name")

    def add(
        name: str, text: str, *parents: Parser, epilog: str = "", has_gateway: bool = True
    ) -> Parser:
        verb: Parser = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            parents=[*parents, gateways] if has_gateway else parents,
            formatter_class=formatter,
        )
        verb.set_defaults(verb=name)
        return verb

    run = add("run", "run a command and report it", group, declared, epilog=RUN_EPILOG)
    run.usage = "batch-job run --job JOB [options] -- COMMAND [ARGUMENT ...]"
    run.add_argument(
        "--lock", action="store_true", help="leave this run out while another batch-job runs it"
    )
    retry = add(
        "retry",
        "run a command again while it fails, in ExecStart= of a unit",
        tries,
        epilog="Everything after -- is the command and its arguments. Nothing is reported.",
        has_gateway=False,
    )
    retry.usage = "batch-job retry [options] --retries-file FILE -- COMMAND [ARGUMENT ...]"
    retry.add_argument(
        "--retries-file", type=Path, metavar="FILE", required=True, help="for `finish`"
    )
    add("start", "report a start, in ExecStartPre= of a unit", group, declared)
    finish = add("finish", "report an end, in ExecStopPost= of a unit", group, declared)
    finish.add_argument("--metrics-file", type=Path, metavar="FILE", help="the job's own metrics")
    finish.add_argument("--retries-file", type=Path, metavar="FILE", help="that `retry` wrote")
    finish.add_argument(
        "--on-failure",
        action="store_true",
        help="in a unit that OnFailure= names: report a run that its own unit could not report",
    )
    register = add("register", "register at the gateways when a job must succeed", host, declared)
    jobs = register.add_mutually_exclusive_group(required=True)
    jobs.add_argument("--job", type=_type(job_name), help="the job's name")
    jobs.add_argument(
        "--all",
        action="store_true",
        help="all jobs declared on this host; forgets those that are declared no longer",
    )
    register.add_argument("--dry-run", action="store_true", help="only print what would change")
    push = add("push", "add metrics from standard input to a job's", group)
    push.add_argument("--replace", action="store_true", help="replace the job's metrics instead")
    add("delete", "delete a job's metrics from the gateways", group)
    add("flush", "send the reports that are kept")
    status = add("status", "show this host's jobs and the reports that are kept")
    status.add_argument(
        "names", nargs="*", metavar="JOB", help="show this job alone, with its last output"
    )
    add("check", "check the configuration and the declared jobs")
    badge = add("badge", "print a job's state as an SVG, for a README or a wiki", host)
    badge.add_argument("job", metavar="JOB", type=_type(job_name), help="the job's name")
    badge.add_argument(
        "--prometheus",
        required=True,
        metavar="URL",
        help="who is asked; the options for gateways hold its credentials",
    )
    badge.add_argument("--json", action="store_true", help="print what shields.io reads instead")
    return parser


def _gateway_options() -> Parser:
    """Return the options of all verbs."""
    parser = Parser(add_help=False)
    options = parser.add_argument_group("gateways")
    options.add_argument(
        "--gateway",
        action="append",
        metavar="URL",
        help="a Pushgateway, or file:///DIR; may be repeated, each gets the report",
    )
    for option, metavar, text in (
        ("ca-file", "FILE", "the private CA that signed the gateway's certificate"),
        ("cert-file", "FILE", "client certificate"),
        ("key-file", "FILE", "its key"),
        ("username", "NAME", "user for basic authentication"),
        ("password-file", "FILE", "file with the password"),
        ("token-file", "FILE", "file with a bearer token"),
    ):
        default = os.environ.get(ENVIRONMENT + option.replace("-", "_").upper(), "")
        options.add_argument(f"--{option}", default=default, metavar=metavar, help=text)
    options.add_argument(
        "--config-directory",
        type=Path,
        default=Path(os.environ.get(ENVIRONMENT + "CONFIG_DIRECTORY") or "/etc/batch-job"),
        metavar="DIR",
        help="gateways and declared jobs (default: /etc/batch-job)",
    )
    options.add_argument(
        "--state-directory",
        type=Path,
        default=os.environ.get(ENVIRONMENT + "STATE_DIRECTORY") or None,
        metavar="DIR",
        help="kept reports and results (default: /var/lib/batch-job, or ~/.local/state/batch-job)",
    )
    return parser


def _tries_options() -> Parser:
    """Return the options that say what a failure is, and whether to try again."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("failures (default: as in the inventory, if it is there)")
    group.add_argument(
        "--warning-exit-codes",
        type=_type(exit_codes),
        metavar="3,100-107",
        help="exit codes of runs that succeeded with a warning",
    )
    group.add_argument(
        "--retries", type=_type(count), metavar="2", help="how often to try again after a failure"
    )
    group.add_argument(
        "--retry-delay", type=_type(duration), metavar="5min", help="how long to wait before that"
    )
    return parser


def _declaration_options(tries: Parser) -> Parser:
    """Return the options that stand for a declaration."""
    parser = Parser(add_help=False, parents=[tries])
    group = parser.add_argument_group("declaration (default: as in the inventory, if it is there)")
    due = group.add_mutually_exclusive_group()
    due.add_argument(
        "--max-age",
        # Its name in version 1.0.
        "--due-within",
        type=_type(duration),
        metavar="26h",
        help="longest time between two successes",
    )
    due.add_argument(
        "--on-calendar",
        metavar="EXPR",
        help="schedule, as in systemd.time(7); several are separated by semicolons",
    )
    due.add_argument(
        "--every", type=_type(duration), metavar="6h", help="time from one start to the next"
    )
    group.add_argument("--grace", type=_type(duration), metavar="30min", help="how late it may be")
    group.add_argument("--max-runtime", type=_type(duration), metavar="2h", help="allowed runtime")
    group.add_argument(
        "--report-output",
        type=_type(count),
        metavar="3",
        help="how many of the last lines of a failed run to report; of `run`, those on stderr",
    )
    group.add_argument(
        "--backup-size",
        dest="backup_size_of",
        type=os.path.abspath,
        metavar="PATH",
        help="report the size of this file or directory as that of the backup",
    )
    group.add_argument("--owner", help="who gets the alerts")
    group.add_argument("--severity", choices=SEVERITIES)
    group.add_argument("--kind", help="what sort of job it is, such as backup")
    return parser


def _type(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a check whose reason argparse prints when it refuses a text."""

    def checked(text: str) -> Any:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
