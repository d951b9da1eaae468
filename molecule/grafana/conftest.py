"""What the tests of Grafana share: the password of the inventory, and whether Grafana is real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab.offline import grafana as packages


@pytest.fixture(scope="session")
def password() -> str:
    """Return the password of the scenario's inventory."""
    variables = Path(__file__).parent / "inventory" / "group_vars" / "grafana.yml"
    return str(yaml.safe_load(variables.read_text())["grafana_admin_password"])


@pytest.fixture
def dashboard(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a dashboard's file and returns its path."""

    def write(uid: str) -> str:
        path = tmp_path / f"{uid}.json"
        path.write_text(f'{{"uid": "{uid}", "title": "Title of {uid}", "panels": []}}\n')
        return str(path)

    return write


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what only the real program can show, where its packages cannot be fetched."""
    for item in items:
        if item.get_closest_marker("real_grafana") and packages.missing():
            reason = f"needs the real Grafana, a stand-in runs: {packages.missing()}"
            item.add_marker(pytest.mark.skip(reason=reason))
