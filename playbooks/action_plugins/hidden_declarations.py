"""Action: find jobs that Ansible hides, because two groups of a host set the same variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.inventory.group import Group
from ansible.inventory.helpers import sort_groups
from ansible.inventory.host import Host
from ansible.plugins.action import ActionBase
from ansible.vars.plugins import get_vars_from_inventory_sources

# Lists of declarations; those with a suffix are joined, those of the same name hide each other.
LISTS = re.compile(r"batch_job_(jobs|external)(_\w+)?")


class ActionModule(ActionBase):  # type: ignore[misc]
    """Returns a sentence for each list of a host that hides another one."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Compare what the groups of this host set. A host's own list counts alone, as it says."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        manager = self._task.get_variable_manager()
        self._inventory = manager._inventory
        host = self._inventory.get_host((task_vars or {})["inventory_hostname"])
        own = {name for name, _ in self._lists(host)}
        found: dict[str, tuple[str, Any]] = {}
        hidden = []
        # In the order in which one hides the other.
        for group in sort_groups(host.get_groups()):
            for name, value in self._lists(group):
                before, its_value = found.get(name, ("", value))
                if name not in own and its_value not in ([], value):
                    hidden.append(sentence(name, host.name, group.name, before))
                found[name] = (group.name, value)
        return {**result, "hidden": hidden}

    def _lists(self, entity: Host | Group) -> Iterator[tuple[str, Any]]:
        """Yield name and value of each list that a host or a group sets itself."""
        sources = self._inventory._sources
        variables = {
            **entity.vars,
            **get_vars_from_inventory_sources(self._loader, sources, [entity], "inventory"),
            **get_vars_from_inventory_sources(self._loader, sources, [entity], "task"),
        }
        return ((name, value) for name, value in variables.items() if LISTS.fullmatch(name))


def sentence(name: str, host: str, group: str, hidden_group: str) -> str:
    """Return what is wrong with a list of a group that hides another group's, and the cure."""
    names = " and ".join(
        f"{name}_{re.sub('[^A-Za-z0-9]', '_', each)}" for each in (hidden_group, group)
    )
    return (
        f"{name} of the group {group} hides that of the group {hidden_group} on {host}: "
        f"lists with names of their own are joined, such as {names}"
    )
