"""`python -m lab`: start, remove and show labs."""

from __future__ import annotations

import argparse
import sys

from lab import LabError, browser, compose_plugin, engine, images, mirror, nodes
from lab.console import fail
from lab.offline import grafana


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with a message for people otherwise."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (("up", "start a lab"), ("down", "remove a lab")):
        commands.add_parser(command, help=text).add_argument("lab", choices=nodes.LABS)
    commands.add_parser("cache", help="build images, mirror and Compose plugin, start nothing")
    commands.add_parser("versions", help="print which programs the lab runs")
    commands.add_parser("forget", help="remove the cache and the node images")
    options = parser.parse_args(arguments)
    try:
        if options.command == "up":
            nodes.up(nodes.LABS[options.lab])
        elif options.command == "down":
            nodes.down(nodes.LABS[options.lab])
        elif options.command == "forget":
            nodes.forget()
        else:
            client = engine.connect()
            browser.ensure()
            tag = images.ensure(client)
            versions = mirror.ensure(client, tag)
            missing = grafana.ensure(client, tag)
            if options.command == "cache":
                compose_plugin.ensure(client)
            for name, mirrored in versions.items():
                print(f"{name:13} {', '.join(mirrored)} (from {mirror.source()})")
            origin = f"a STAND-IN, tests are skipped: {missing}" if missing else "its own packages"
            print(f"{'grafana':13} {grafana.version()} (from {origin})")
    except LabError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
