"""What the tests of all examples need."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_job.gateway import Gateway
from programs import Pushgateway, find, free_port

# Whatever a URL, a shell or the text format could trip over.
ODD_NAMES = [
    "a b",
    "team/nightly",
    "größe",
    "..",
    "100%",
    "a+b>>>???",
    "-n",
    'say "hi"\\n',
    "a name longer than 57 bytes, which base64 writes on two lines",
]

# Busybox where it happens to be.
SHELLS = [["sh"], ["bash"], *([["busybox", "sh"]] if shutil.which("busybox") else [])]

Finish = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Return the command of a shell."""
    return list(request.param)


@pytest.fixture(scope="session")
def finish() -> Finish:
    """Return a function that runs a command to its end, and returns exit status and output."""
    pipe = subprocess.PIPE
    return functools.partial(subprocess.run, stdout=pipe, stderr=pipe, text=True, timeout=30)


@pytest.fixture(params=ODD_NAMES)
def odd_name(request: pytest.FixtureRequest) -> str:
    """Return a name that must arrive as it is."""
    return str(request.param)


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a function that makes a program of a script, on the PATH of the examples."""
    directory = tmp_path / "bin"
    directory.mkdir()

    def make(name: str, script: str) -> Path:
        (directory / name).write_text(script)
        (directory / name).chmod(0o755)
        return directory / name

    return make


@pytest.fixture
def batch_job(stand_in: Callable[[str, str], Path]) -> Path:
    """Put `batch-job` on the PATH of the examples, as `pip install` would."""
    return stand_in("batch-job", f'#!/bin/sh\nexec {sys.executable} -m batch_job "$@"\n')


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function from variables to an environment with hardly anything else."""

    def make(**variables: Any) -> dict[str, str]:
        return {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "BATCH_JOB_STATE_DIRECTORY": str(tmp_path / "state"),
            "CURL": str(shutil.which("curl")),
            **{name: str(value) for name, value in variables.items()},
        }

    return make


@pytest.fixture
def impatient_curl(stand_in: Callable[[str, str], Path]) -> Path:
    """Put a curl on the PATH of the examples to which ten seconds are a moment."""
    return stand_in(
        "curl",
        """#!/bin/sh
for word; do
    shift
    [ "$before $word" = "--max-time 10" ] && word=0.1
    before=$word
    set -- "$@" "$word"
done
exec "$CURL" "$@"
""",
    )


@pytest.fixture
def roll_out(
    batch_job: Path, environment: Callable[..., dict[str, str]], finish: Finish, tmp_path: Path
) -> Callable[[str], str]:
    """Return a function that registers a job which reports itself, as a rollout does."""
    jobs = tmp_path / "config/jobs"
    jobs.mkdir(parents=True)

    def register(url: str) -> str:
        (jobs / "nightly.json").write_text('{"max_age": "26h", "max_runtime": "1h"}')
        command = [batch_job, "register", "--all", "--instance", "node1", "--gateway", url]
        variables = environment(BATCH_JOB_CONFIG_DIRECTORY=jobs.parent)
        return finish(command, env=variables, check=True).stdout

    return register


@pytest.fixture
def curl_config(secure_gateway: Gateway, tmp_path: Path) -> Path:
    """Return a curl config file with what the secure gateway asks for."""
    password = Path(secure_gateway.password_file).read_text().strip()
    path = tmp_path / "curl.conf"
    path.write_text(
        f'user = "{secure_gateway.username}:{password}"\ncacert = "{secure_gateway.ca_file}"\n'
    )
    return path


@pytest.fixture
def complaints(finish: Finish) -> Callable[[str], str]:
    """Return a function that asks promtool what is wrong with metrics in the text format."""

    def ask(text: str) -> str:
        done = finish([find("promtool"), "check", "metrics"], input=text)
        return done.stdout + done.stderr

    return ask


@pytest.fixture
def prefixed_pushgateway(tmp_path: Path) -> Iterator[Pushgateway]:
    """Run a Pushgateway below a path, as behind a proxy."""
    running = Pushgateway(tmp_path, free_port(), prefix="/push/gateway")
    yield running
    running.stop()


@pytest.fixture
def redirect(stand_in_gateway: Callable[..., tuple[str, list[Any]]]) -> str:
    """Return the URL of a gateway that redirects every request to one that takes it."""
    target, _seen = stand_in_gateway(200)
    return stand_in_gateway(302, {"Location": target})[0]


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the URL of something that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
