"""Grafana's Debian repository, or a stand-in for it: signed, with packages of the same layout.

Nobody but Grafana Labs publishes Grafana for Debian. Where their repository cannot be reached,
the mirror serves packages whose program is `grafana_stand_in.py`: with them, the tests prove what
the role does on the host, and skip what only the real program can show. Packages and program
follow packaging/deb of Grafana's sources: paths, user, unit, and when it is (re)started.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import docker
import requests
import yaml

from lab import CACHE, REPOSITORY, LabError, releases
from lab.console import step
from lab.image import run_script

FOLDER = releases.MIRROR / "grafana-stand-in"
INDEX = FOLDER / "lab.json"
PROGRAM = Path(__file__).with_name("grafana_stand_in.py")

# An older version, for upgrades and rollbacks.
PREVIOUS = "12.4.0"

UNIT = """\
[Unit]
Description=Stand-in for Grafana
After=network-online.target

[Service]
EnvironmentFile=/etc/default/grafana-server
User=grafana
Group=grafana
Type=simple
Restart=on-failure
WorkingDirectory=/usr/share/grafana
RuntimeDirectory=grafana
RuntimeDirectoryMode=0750
ExecStart=/usr/share/grafana/bin/grafana server --config=${CONF_FILE} \\
  --pidfile=${PID_FILE_DIR}/grafana-server.pid --packaging=deb \\
  cfg:default.paths.logs=${LOG_DIR} cfg:default.paths.data=${DATA_DIR} \\
  cfg:default.paths.plugins=${PLUGINS_DIR} cfg:default.paths.provisioning=${PROVISIONING_CFG_DIR}
MemoryDenyWriteExecute=false
ProtectSystem=full
UMask=0027

[Install]
WantedBy=multi-user.target
"""
DEFAULTS = """\
CONF_FILE=/etc/grafana/grafana.ini
DATA_DIR=/var/lib/grafana
LOG_DIR=/var/log/grafana
PLUGINS_DIR=/var/lib/grafana/plugins
PROVISIONING_CFG_DIR=/etc/grafana/provisioning
PID_FILE_DIR=/run/grafana
RESTART_ON_UPGRADE=true
"""
POSTINST = """\
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
id grafana > /dev/null 2>&1 || adduser --system --group --home /usr/share/grafana \\
    --no-create-home --shell /bin/false --quiet grafana
mkdir -p /var/log/grafana /var/lib/grafana
chown -R grafana:grafana /var/log/grafana /var/lib/grafana
chmod 755 /var/log/grafana /var/lib/grafana
[ -f /etc/grafana/grafana.ini ] || cp /usr/share/grafana/conf/sample.ini /etc/grafana/grafana.ini
mkdir -p /etc/grafana/provisioning/dashboards /etc/grafana/provisioning/datasources
chown -Rh root:grafana /etc/grafana/*
find /etc/grafana -type f -exec chmod 640 {} ';'
find /etc/grafana -type d -exec chmod 755 {} ';'
if [ -n "$2" ]; then
    systemctl daemon-reload
    systemctl restart grafana-server || true
fi
"""
CONTROL = """\
Package: grafana
Version: {version}
Architecture: all
Depends: adduser, python3
Maintainer: The maintainers of this repository <nobody@example.org>
Description: Stand-in for Grafana in tests
"""

# Runs in a Debian node: builds the packages in /out/packages into a signed repository.
# A frozen mirror's index is older than its Valid-Until; its signature is verified all the same.
BUILD = r"""
set -eu
echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/lab
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends gnupg > /dev/null 2>&1
cd /out
architecture=$(dpkg --print-architecture)
index=main/binary-$architecture/Packages
mkdir -p "dists/stable/${index%/*}" pool
for tree in packages/*; do
    package=pool/grafana_${tree#*/}_all.deb
    dpkg-deb --root-owner-group --build "$tree" "$package" > /dev/null
    dpkg-deb --field "$package"
    printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' \
        "$package" "$(stat -c %s "$package")" "$(sha256sum "$package" | cut -d ' ' -f 1)"
done > "dists/stable/$index"
rm -r packages
cd dists/stable
cat > Release <<END
Suite: stable
Components: main
Architectures: $architecture
Date: $(date -Ru)
SHA256:
 $(sha256sum "$index" | cut -d ' ' -f 1) $(stat -c %s "$index") $index
END
gpg --quiet --batch --passphrase '' --quick-generate-key 'Stand-in for Grafana' ed25519 sign never
gpg --quiet --clearsign --output InRelease Release
gpg --quiet --armor --export > /out/key.asc
chown -R "$OWNER" /out
"""


def ensure(client: docker.DockerClient, image: str) -> str:
    """Build the stand-in if it is needed; return why it is, or nothing for the real Grafana."""
    sources = b"".join(each.read_bytes() for each in (PROGRAM, Path(__file__)))
    digest = hashlib.sha256(sources + default("grafana_version").encode()).hexdigest()
    if not INDEX.exists() or json.loads(INDEX.read_text())["digest"] != digest:
        shutil.rmtree(FOLDER, ignore_errors=True)
        reason = why_unreachable()
        if reason:
            with step("Building a stand-in for Grafana, which cannot be fetched"):
                _build(client, image)
        FOLDER.mkdir(parents=True, exist_ok=True)
        INDEX.write_text(json.dumps({"digest": digest, "missing": reason}))
    return missing()


def missing() -> str:
    """Say what of the real Grafana cannot be fetched, and why; nothing where it is used."""
    return str(json.loads(INDEX.read_text())["missing"])


def variables(mirror_url: str) -> dict[str, str]:
    """Return what the role must be told to install the stand-in; nothing for the real Grafana."""
    if not missing():
        return {}
    return {
        "grafana_repository_url": f"{mirror_url}/{FOLDER.name}",
        "grafana_repository_key": (FOLDER / "key.asc").read_text(),
    }


def default(variable: str) -> str:
    """Return the value that a variable of the role has by default."""
    defaults = REPOSITORY / "roles" / "grafana" / "defaults" / "main.yml"
    return str(yaml.safe_load(defaults.read_text())[variable])


def why_unreachable() -> str:
    """Ask for the index of Grafana's own repository; return why there is none, or nothing."""
    url = f"{default('grafana_repository_url')}/dists/stable/InRelease"
    try:
        requests.get(url, timeout=(5, 30)).raise_for_status()
    except requests.RequestException as error:
        reason = getattr(error.args[0], "reason", error) if error.args else error
        return f"{url} cannot be fetched: {reason}"
    return ""


def write_package(tree: Path, version: str) -> None:
    """Write what dpkg-deb makes a package of."""
    files = {
        "DEBIAN/control": CONTROL.format(version=version),
        "DEBIAN/postinst": POSTINST,
        "DEBIAN/conffiles": "/etc/default/grafana-server\n",
        "etc/default/grafana-server": DEFAULTS,
        "etc/grafana/.keep": "",
        "usr/lib/systemd/system/grafana-server.service": UNIT,
        "usr/share/grafana/VERSION": f"{version}\n",
        "usr/share/grafana/bin/grafana": PROGRAM.read_text(),
        "usr/share/grafana/conf/sample.ini": "; A sample\n",
    }
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755 if name in ("DEBIAN/postinst", "usr/share/grafana/bin/grafana") else 0o644)


def _build(client: docker.DockerClient, image: str) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        out = Path(directory, "repository")
        for version in (default("grafana_version"), PREVIOUS):
            write_package(out / "packages" / version, version)
        try:
            run_script(client, image, BUILD, out)
        except LabError as error:
            raise LabError(f"building the stand-in for Grafana failed:\n{error}") from error
        out.rename(FOLDER)
