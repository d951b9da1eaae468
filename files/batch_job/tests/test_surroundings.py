"""`batch-job run` in hostile surroundings.

Whatever is wrong beside a command, its status and its output stay as they are, it waits at most
five seconds, and its report arrives or is kept. Each row of a table is one thing that is wrong.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

SCRIPT = "echo out; echo err >&2; exit 3"
ENDED_WELL = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}
# For the start of Python and its modules on a busy machine.
SPARE_SECONDS = 4
KEPT = "the report is kept and will be sent later"


@pytest.fixture
def server():
    """Return a function from what answers a connection to a server's URL and what it received."""
    sockets = []

    def start(answer):
        received = []
        listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        sockets.append(listening)

        def serve(connection):
            with connection, suppress(OSError):
                received.append(connection.recv(1 << 16))
                threading.Thread(target=answer, args=(connection,), daemon=True).start()
                while more := connection.recv(1 << 16):
                    received.append(more)

        def listen():
            while True:
                try:
                    connection, _address = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}", received

    yield start
    for each in sockets:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def say(text, again=b"", pause=0.0):
    """Return an answer: a text, and another one again and again."""

    def answer(connection):
        with suppress(OSError):
            connection.sendall(text)
            while again:
                time.sleep(pause)
                connection.sendall(again)

    return answer


def close(connection):
    connection.shutdown(socket.SHUT_RDWR)


class Answer(NamedTuple):
    """How a gateway answers, how long the run of a moment waits, and why its report is kept."""

    answer: Callable[[socket.socket], None]
    seconds: float
    reason: str


OK = b"HTTP/1.1 200 OK\r\n"
STRANGER = "does not answer as a Pushgateway does"
LATE = r"took more than [45]\.\d s"
ANSWERS = {
    "nothing": Answer(say(b""), 3, "cannot be reached: timed out"),
    "a byte each second": Answer(say(b"", b"H", 1), 5, LATE),
    "a header each second": Answer(say(OK, b"a: b\r\n", 1), 5, LATE),
    "garbage": Answer(say(b"\xff\xfe garbage\r\n\r\n"), 0, "cannot be reached: "),
    "an end": Answer(close, 0, "cannot be reached: "),
    "503": Answer(say(b"HTTP/1.1 503 Busy\r\n\r\n"), 0, "answers 503 Busy"),
    "400 with a page": Answer(
        say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\n<html>"),
        0,
        "answers 400 .*<html>",
    ),
    "400 without end": Answer(say(b"HTTP/1.1 400 Bad\r\n\r\n", b"x" * 65536), 0, "answers 400 Bad"),
    "a redirect": Answer(
        say(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"),
        0,
        "answers 302 Found",
    ),
    "a page": Answer(say(OK + b"Content-Length: 6\r\n\r\n<html>"), 0, STRANGER),
    "no content": Answer(say(b"HTTP/1.1 204 No Content\r\n\r\n"), 0, STRANGER),
    "a body without end": Answer(say(OK + b"\r\n", b"x" * 65536), 0, STRANGER),
    "a slow body without end": Answer(say(OK + b"\r\n", b"x", 1), 5, LATE),
}


@pytest.mark.parametrize("gateways", [1, 2])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_report_is_kept_when_a_gateway_answers(node, server, name, gateways):
    answer, seconds, reason = ANSWERS[name]
    urls = [server(answer)[0] for _ in range(gateways)]
    node.configure(*urls)
    began = time.monotonic()
    done = node.run("sh", "-c", SCRIPT)
    assert time.monotonic() - began < seconds + SPARE_SECONDS
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert sorted(kept.url for kept in node.kept()) == sorted(urls)
    own, *logged = done.stderr.splitlines()
    assert own == "err"
    for line in logged:
        assert re.fullmatch(rf"batch-job: nightly: http://\S+ .*({reason}).*; {KEPT}", line)
    assert gateways <= len(logged) <= 2 * gateways


@pytest.fixture
def command_line(node, tmp_path):
    """Return a function that runs `batch-job` after some Python code, in an empty directory."""
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    main = "import sys; from batch_job.cli import main; sys.exit(main())"

    def run(*words, code="", prefix=(), **environment):
        done = subprocess.run(
            [*prefix, sys.executable, "-c", f"{code}\n{main}", *words],
            env={**node.environment, "TMPDIR": str(tmp_path / "tmp"), **environment},
            cwd=tmp_path / "work",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert list((tmp_path / "work").iterdir()) == []
        assert list((tmp_path / "tmp").iterdir()) == []
        return done

    return run


NO_THREADS = """
import threading
def refuse(self): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
"""
# Only once: what needs memory later may get it.
NO_MEMORY = """
import threading
event = threading.Event
def fail():
    threading.Event = event
    raise MemoryError
threading.Event = fail
"""


@dataclass
class Case:
    """Something that is wrong beside a run, and what is logged about it."""

    # A function of the node.
    prepare: Callable[..., None] | None = None
    # Python code that runs before the reporter's.
    code: str = ""
    prefix: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    # What the command does first.
    script: str = ":"
    logged: tuple[str, ...] = ()
    is_reported: bool = True
    # Its own metrics that arrive.
    own: dict[str, float] = field(default_factory=dict)


def damaged(name):
    return lambda node: (node.config / name).write_text("{")


def fifo_in_the_spool(node):
    (node.state / "spool").mkdir(parents=True)
    os.mkfifo(node.state / "spool" / "a.json")


def fifo_as_memory(node):
    (node.state / "jobs").mkdir(parents=True)
    os.mkfifo(node.state / "jobs" / "nightly.json")


def write(text):
    """Return a script that writes its own metrics with Python."""
    code = f'import os; open(os.environ["BATCH_JOB_METRICS"], "w").write({text})'
    return f"{sys.executable} -c '{code}'"


OWN = 'echo "own 1" >"$BATCH_JOB_METRICS"'
CASES = {
    "no thread can start": Case(code=NO_THREADS, script=OWN, own={"own": 1}),
    "no thread can start for its last lines": Case(
        code=NO_THREADS,
        options=("--report-output", "3"),
        logged=("the command's last lines will not be reported: can't start new thread",),
    ),
    "no memory for the report of its start": Case(code=NO_MEMORY, logged=("MemoryError: ?",)),
    "60 MB of address space": Case(
        prefix=("prlimit", "--as=60000000"),
        # To compile the standard library takes more.
        environment={"PYTHONPYCACHEPREFIX": "", "PYTHONDONTWRITEBYTECODE": "1"},
        script=OWN,
        own={"own": 1},
    ),
    "a directory beside its metrics": Case(
        script=f'{OWN}; mkdir -p "${{BATCH_JOB_METRICS%/*}}/a/b"', own={"own": 1}
    ),
    "a directory in place of its metrics": Case(
        script='mkdir "$BATCH_JOB_METRICS"', logged=(r"nightly: /\S+: not a plain file",)
    ),
    "no TMPDIR": Case(environment={"TMPDIR": "/does/not/exist"}, script=OWN, own={"own": 1}),
    "a TMPDIR for others": Case(environment={"TMPDIR": "/proc"}, script=OWN, own={"own": 1}),
    "a relative TMPDIR": Case(environment={"TMPDIR": "."}, script=OWN, own={"own": 1}),
    "no place for a file": Case(
        prefix=("prlimit", "--fsize=0"),
        script=OWN,
        logged=(
            r"there is no place for \$BATCH_JOB_METRICS: .*",
            *[r"nightly: .*File too large"] * 2,
        ),
    ),
    "an empty state directory": Case(
        environment={"BATCH_JOB_STATE_DIRECTORY": "", "XDG_STATE_HOME": "{state}"}
    ),
    "a relative home of state": Case(
        environment={
            "BATCH_JOB_STATE_DIRECTORY": "",
            "XDG_STATE_HOME": "state",
            "HOME": "{state}",
        },
    ),
    "500,000 bad lines": Case(
        script=write('"x\\n" * 500000'),
        logged=(
            *[rf"nightly: /\S+, line {n} is left out: .*" for n in range(1, 11)],
            r"nightly: /\S+, line 10001 and all after it are left out: the limit is 10000 lines",
            r"nightly: /\S+, 9990 more bad lines",
        ),
    ),
    "60,000 good lines": Case(
        script=write('"own 1\\n" + "".join(f"x{{a=\\"{i}\\"}} 1\\n" for i in range(60000))'),
        logged=(r"nightly: /\S+, line 10001 and all after it are left out: .*",),
        own={"own": 1},
    ),
    "a line with 90,000 labels": Case(
        script=write('"own 1\\nx{" + ",".join(f"a{i}=\\"\\"" for i in range(90000)) + "} 1\\n"'),
        logged=(r"nightly: /\S+, line 2 is left out: longer than 16384 characters",),
        own={"own": 1},
    ),
    "a damaged declaration": Case(
        prepare=damaged("jobs/nightly.json"),
        logged=(r"\S+/nightly\.json: .*; the report has no declaration",),
    ),
    "a damaged configuration beside --gateway": Case(
        prepare=damaged("config.json"),
        options=("--gateway", "{url}", "--instance", "node1"),
        logged=(r"\S+/config\.json: .*",),
    ),
    "a bad gateway beside a good one": Case(
        environment={"BATCH_JOB_GATEWAY": "nonsense {url}"},
        logged=(r"'nonsense' is not a URL such as .*",),
    ),
    "a bad gateway": Case(
        environment={"BATCH_JOB_GATEWAY": "nonsense"},
        logged=(r"'nonsense' is not a URL such as .*",),
        is_reported=False,
    ),
    "a bad instance": Case(
        environment={"BATCH_JOB_INSTANCE": "a b"},
        logged=(r"BATCH_JOB_INSTANCE: 'a b' is not an instance: .*",),
        is_reported=False,
    ),
    "a FIFO in the spool": Case(prepare=fifo_in_the_spool),
    "a FIFO as its memory": Case(prepare=fifo_as_memory),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_and_its_report_survive(node, pushgateway, command_line, tmp_path, name):
    case = CASES[name]
    node.configure(pushgateway.url)
    if case.prepare:
        case.prepare(node)
    places = {"url": pushgateway.url, "state": str(tmp_path / "state")}
    options = [word.format(**places) for word in case.options]
    began = time.monotonic()
    done = command_line(
        *("run", "--job", "nightly", *options, "--", "sh", "-c", f"{case.script}; {SCRIPT}"),
        code=case.code,
        prefix=case.prefix,
        **{variable: text.format(**places) for variable, text in case.environment.items()},
    )
    assert time.monotonic() - began < 5 + SPARE_SECONDS
    assert (done.returncode, done.stdout) == (3, "out\n")
    logged = done.stderr.splitlines()
    logged.remove("err")
    assert len(logged) == len(case.logged), logged
    for line, pattern in zip(logged, case.logged, strict=True):
        assert re.fullmatch(f"batch-job: {pattern}", line)
    values = pushgateway.values("nightly")
    assert values.get("last_exit_code") == (3 if case.is_reported else None)
    assert {key: values[key] for key in case.own} == case.own
    assert node.kept() == []


def test_a_message_does_not_go_into_the_connection_to_a_gateway(node, server):
    url, received = server(say(b"", b"H", 1))
    node.configure(url)
    words = " ".join(node.command("run", "--job", "nightly", "--", "sh", "-c", "'exit 3'"))
    done = subprocess.run(["sh", "-c", f"exec {words} 2>&-"], env=node.environment, check=False)
    assert done.returncode == 3
    assert len(node.kept()) == 1
    assert b"batch-job: " not in b"".join(received)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_closed_for_the_command(node, tmp_path, closed):
    script = f"ls -l /proc/self/fd >{tmp_path}/open 2>/dev/null"
    (tmp_path / "script").write_text(script)
    plain = f"sh {tmp_path}/script"
    streams = []
    for words in (plain, " ".join(node.command("run", "--job", "nightly", "--", plain))):
        subprocess.run(
            ["sh", "-c", f"exec {words} {closed}"],
            env=node.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        lines = (tmp_path / "open").read_text().splitlines()[1:]
        streams.append([line.split()[8] for line in lines])
    assert streams[0] == streams[1]


FILL = """
mount -t tmpfs -o size=4k none "$TMPDIR" && head -c 4096 /dev/zero >"$TMPDIR/full" && exec "$@"
"""


def test_a_full_disk_for_temporary_files_costs_a_job_nothing(node, pushgateway, tmp_path):
    (tmp_path / "tmp").mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp")}
    prefix = ["unshare", "--mount", "sh", "-c", FILL, "sh"]
    if subprocess.run([*prefix, "true"], env=environment, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    words = ("run", "--job", "nightly", "--", "sh", "-c", f"{OWN}; ls $TMPDIR; exit 3")
    done = node(*words, prefix=prefix, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (3, "full\n", "")
    assert pushgateway.values("nightly")["own"] == 1


def test_a_run_that_is_left_out_leaves_nothing_behind(node, command_line, tmp_path, eventually):
    words = ("run", "--job", "nightly", "--lock", "--")
    with node.start(*words, "cat", stdin=subprocess.PIPE) as running:
        assert eventually((node.state / "locks" / "nightly.lock").exists)
        assert eventually(lambda: command_line(*words, "true").returncode == 75)
        running.communicate()


def test_metrics_of_an_earlier_run_are_not_pushed_again(node, pushgateway, tmp_path):
    own = tmp_path / "own.prom"
    own.write_text("own 1\n")
    words = ("run", "--job", "nightly", "--", "sh", "-c")
    done = node(*words, "exit 3", BATCH_JOB_METRICS=str(own))
    reason = "it is older than this run; its metrics are not pushed"
    assert done.stderr == f"batch-job: {own}: {reason}\n"
    assert "own" not in pushgateway.values("nightly")
    node(*words, 'echo "own 1" >"$BATCH_JOB_METRICS"; exit 3', BATCH_JOB_METRICS=str(own))
    assert pushgateway.values("nightly")["own"] == 1


def test_metrics_may_go_nowhere(node):
    done = node("run", "--job", "nightly", "--", "true", BATCH_JOB_METRICS="/dev/null")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_without_a_name_is_127(node, pushgateway):
    done = node("run", "--job", "nightly", "--", "")
    assert (done.returncode, done.stderr) == (127, "batch-job: '': No such file or directory\n")
    assert pushgateway.result("nightly") == "start-failed"


@pytest.fixture
def executable(tmp_path):
    """Return a function that makes an executable file of a content."""

    def make(content):
        (tmp_path / "job").write_bytes(content)
        (tmp_path / "job").chmod(0o755)
        return tmp_path / "job"

    return make


@pytest.mark.parametrize("by", ["path", "name"])
def test_a_script_without_an_interpreter_runs_as_a_shell_runs_it(node, executable, by):
    path = executable(b'echo "$# $2"; exit 3\n')
    name = path if by == "path" else path.name
    search = f"{path.parent}:{os.environ['PATH']}"
    done = node("run", "--job", "nightly", "--", name, "a b", "c d", PATH=search)
    assert (done.returncode, done.stdout, done.stderr) == (3, "2 c d\n", "")


def test_a_binary_of_another_machine_is_126(node, executable):
    done = node("run", "--job", "nightly", "--", executable(b"\x7fELF\0\0\n"))
    assert done.returncode == 126
    assert done.stderr.endswith("/job: Exec format error\n")


def test_of_two_runs_at_once_each_has_its_status_and_the_last_end_counts(node, pushgateway):
    words = ("run", "--job", "nightly", "--", "sh", "-c")
    with node.start(*words, "read x; exit 3", stdin=subprocess.PIPE) as first:
        assert node(*words, "exit 4").returncode == 4
        assert pushgateway.values("nightly")["last_exit_code"] == 4
        first.communicate()
    assert first.returncode == 3
    found = pushgateway.values("nightly")
    assert found["last_exit_code"] == 3
    assert found["last_start_timestamp_seconds"] <= found["last_completion_timestamp_seconds"]


def test_of_a_reporter_that_is_killed_the_start_is_reported_and_the_command_goes_on(
    node, pushgateway, tmp_path, eventually
):
    script = f"read x; echo done >{tmp_path}/done"
    words = ("run", "--job", "nightly", "--", "sh", "-c", script)
    with node.start(*words, stdin=subprocess.PIPE) as running:
        assert eventually(lambda: "last_start_timestamp_seconds" in pushgateway.values("nightly"))
        running.kill()
        running.wait()
        assert not (tmp_path / "done").exists()
        running.stdin.close()
        assert eventually((tmp_path / "done").exists)
    assert "last_exit_code" not in pushgateway.values("nightly")


def test_the_report_of_a_start_is_kept_while_the_command_runs(node, dead_url, eventually):
    node.configure(dead_url)
    with node.start("run", "--job", "nightly", "--", "cat", stdin=subprocess.PIPE) as running:
        assert eventually(lambda: len(node.kept()) == 1)
        assert running.poll() is None
        running.communicate()


SET_CLOCK = """
import os, time
real = time.time
time.time = lambda: real() + float(open(os.environ["CLOCK"]).read())
"""


@pytest.mark.parametrize(("before", "after"), [(0, -3600), (0, 3600), (-30 * 86400, 0)])
@pytest.mark.parametrize("code", [0, 3])
def test_a_run_that_ended_is_over_whatever_the_clock_did(
    node, pushgateway, command_line, tmp_path, before, after, code
):
    clock = tmp_path / "clock"
    clock.write_text(str(before))
    script = f"sleep 0.5; echo {after} >{clock}; exit {code}"
    done = command_line(
        *("run", "--job", "nightly", "--max-age", "26h", "--", "sh", "-c", script),
        code=SET_CLOCK,
        CLOCK=str(clock),
    )
    assert done.returncode == code
    now = time.time() + after
    found = pushgateway.values("nightly")
    ended = found["last_completion_timestamp_seconds"]
    assert ended == pytest.approx(now, abs=30)
    assert ended - found["last_start_timestamp_seconds"] == pytest.approx(
        found["last_duration_seconds"], abs=0.001
    )
    assert 0.5 <= found["last_duration_seconds"] < 10
    if code == 0:
        assert found["deadline_timestamp_seconds"] == pytest.approx(now + 26 * 3600, abs=30)
    assert "running" not in node("status").stdout


def test_a_damaged_declaration_changes_nothing_that_a_gateway_holds_of_it(node, pushgateway):
    node.declare("nightly", max_age="2h", owner="ops", max_runtime="1h")
    node("run", "--job", "nightly", "--", "true")
    before = pushgateway.values("nightly")
    labels = pushgateway.families("nightly")["batch_job_info"][0]["labels"]
    (node.config / "jobs" / "nightly.json").write_text("{")
    assert node("run", "--job", "nightly", "--", "true").returncode == 0
    after = pushgateway.values("nightly")
    for name in ("deadline_timestamp_seconds", "max_runtime_seconds"):
        assert after[name] == before[name]
    assert pushgateway.families("nightly")["batch_job_info"][0]["labels"] == labels
    assert after["last_success_timestamp_seconds"] > before["last_success_timestamp_seconds"]


FAIL_TO_START = """
import subprocess
def fail(command, timeout, **options):
    raise BlockingIOError(11, "Resource temporarily unavailable")
subprocess.run = fail
"""
HANG = """
import subprocess, time
def hang(command, timeout, **options):
    time.sleep(timeout)
    raise subprocess.TimeoutExpired(command, timeout)
subprocess.run = hang
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (FAIL_TO_START, "cannot be started: Resource temporarily unavailable"),
        (HANG, "took more than 2.5 s"),
    ],
)
def test_a_calendar_program_that_fails_costs_the_deadline_alone(
    command_line, node, pushgateway, code, reason
):
    node.configure(pushgateway.url)
    began = time.monotonic()
    done = command_line(
        *("run", "--job", "nightly", "--on-calendar", "daily", "--", "true"), code=code
    )
    assert time.monotonic() - began < 2.5 + SPARE_SECONDS
    words = f"nightly: systemd-analyze {reason}; its next deadline is unknown"
    assert (done.returncode, done.stderr) == (0, f"batch-job: {words}\n")
    assert pushgateway.result("nightly") == "success"


@pytest.mark.parametrize(("verb", "seconds"), [("start", "2.0"), ("finish", "3.0")])
def test_a_unit_waits_five_seconds_for_both_reports(node, server, verb, seconds):
    node.configure(server(say(b"", b"H", 1))[0])
    done = node(verb, "--job", "nightly", **ENDED_WELL)
    assert done.returncode == 0
    assert f"took more than {seconds} s; {KEPT}\n" in done.stderr
    assert len(node.kept()) == 1


def test_a_unit_waits_no_longer_when_systemd_does_not_answer(node, server, command_line):
    node.configure(server(say(b"", b"H", 1))[0])
    unit = "from batch_job import accounting; accounting.unit = lambda: 'x.service'"
    done = command_line("finish", "--job", "nightly", code=f"{HANG}{unit}", **ENDED_WELL)
    assert done.returncode == 0
    assert re.search(rf"took more than [01]\.\d s; {KEPT}\n", done.stderr)
