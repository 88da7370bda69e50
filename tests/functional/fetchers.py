"""Real clients beyond those of the table: downloaders and package managers, and ssh."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.functional import clients
from tests.functional.clients import CLIENTS, NOISE, Client, Fetched, Proxy, digested, environment, run, sung
from tests.functional.origins import DEB_SIZE, DEBS, NPM_SONG, NPM_VERSION, VERSION, Origin, authorityFile, noise
from tests.functional.processes import Sshd, address, requires

APT_METHODS = "/usr/lib/apt/methods"


def _wget(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    requires("wget")
    url = proxy.url("http")
    command = [
        "wget", "--no-config", "--no-verbose", "--tries=1", "--output-document=file",
        f"--ca-certificate={authorityFile()}",
        "-e", "use_proxy=yes", "-e", f"http_proxy={url}", "-e", f"https_proxy={url}",
        origin.url(f"/noise/{NOISE}", host),
    ]  # fmt: skip
    return digested(run(command, directory), directory / "file")


def _npm(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    requires("npm")
    url = proxy.url("http" if proxy.kind == "http" else "socks5h")
    command = [
        "npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--fetch-retries=0",
        f"--registry={origin.url('/npm/', host)}", f"--cafile={authorityFile()}", f"--proxy={url}",
        f"--https-proxy={url}", "--noproxy=", f"parrot@{NPM_VERSION}",
    ]  # fmt: skip
    fetched = run(command, directory, {"NPM_CONFIG_USERCONFIG": "/dev/null", "NODE_OPTIONS": ""})
    return digested(fetched, directory / "node_modules/parrot/index.js")


def _apt(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    """`apt-get update` and the download of all packages, with a state of its own and without this machine's sources."""
    requires("apt-get")
    url = proxy.url("http" if proxy.kind == "http" else "socks5h")
    for path in ("state/lists/partial", "cache/archives/partial", "etc/sources.list.d", "etc/apt.conf.d", "root"):
        (directory / path).mkdir(parents=True)
    (directory / "etc/sources.list").write_text(f"deb [trusted=yes] {origin.url('/apt/', host)} ./\n")
    (directory / "state/status").touch()
    settings = directory / "apt.conf"
    settings.write_text(
        f'Dir "{directory}/root";\nDir::Etc "{directory}/etc";\nDir::State "{directory}/state";\n'
        f'Dir::State::status "{directory}/state/status";\nDir::Cache "{directory}/cache";\n'
        f'Dir::Bin::methods "{APT_METHODS}";\nDir::Log "{directory}/root";\n'
        f'APT::Sandbox::User "";\nAcquire::Retries "0";\nAcquire::Languages "none";\n'
        f'Acquire::http::Proxy "{url}";\nAcquire::https::Proxy "{url}";\n'
        f'Acquire::https::CaInfo "{authorityFile()}";\n'
    )
    extra = {"APT_CONFIG": str(settings)}
    updated = run(["apt-get", "-qq", "update"], directory, extra)
    if updated.status != 0:
        return updated
    downloaded = run(["apt-get", "-qq", "download", *DEBS], directory, extra)
    output = updated.output + downloaded.output
    found = b"".join(file.read_bytes() for file in sorted(directory.glob("*.deb")))
    return Fetched(downloaded.status, output, hashlib.sha256(found).hexdigest())


def _poetry(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    url = proxy.url("http" if proxy.kind == "http" else "socks5h")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "cage"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        "[tool.poetry]\npackage-mode = false\n"
        f'[[tool.poetry.source]]\nname = "loop"\nurl = "{origin.url("/simple/", host)}"\npriority = "primary"\n'
    )
    extra = {
        "HTTP_PROXY": url, "HTTPS_PROXY": url, "REQUESTS_CA_BUNDLE": str(authorityFile()),
        "POETRY_CACHE_DIR": str(directory / "cache"), "POETRY_CONFIG_DIR": str(directory / "config"),
        "POETRY_VIRTUALENVS_IN_PROJECT": "true", "POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "true",
        "POETRY_KEYRING_ENABLED": "false",
    }  # fmt: skip
    command = [environment("poetry") / "bin/poetry", "--no-interaction", "--no-ansi", "add", f"parrot=={VERSION}"]
    fetched = run(command, directory, extra)
    return sung(fetched, next((directory / ".venv/lib").glob("python3*/site-packages"), directory))


def ssh(proxy: Proxy, server: Sshd, directory: Path) -> Fetched:
    """What a server of ours says, by ssh through ``nc -X 5``."""
    requires("ssh", "nc")
    (directory / "known").write_text(server.known)
    settings = {
        "ProxyCommand": f"nc -X 5 -x {address(proxy.host, proxy.port)} %h %p", "BatchMode": "yes",
        "StrictHostKeyChecking": "yes", "UserKnownHostsFile": directory / "known",
        "GlobalKnownHostsFile": "/dev/null", "IdentityFile": server.key, "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    command = ["ssh", "-F", "none", "-T", "-p", str(server.port), *options, proxy.host]
    fetched = run(["sh", "-c", 'exec "$@" >file', "sh", *command], directory)
    return digested(fetched, directory / "file")


MORE: dict[str, Client] = {
    "wget": _wget,
    "git": CLIENTS["git"],
    "npm": _npm,
    "apt": _apt,
    "poetry": _poetry,
    "requests": CLIENTS["requests"],
}
"""Clients that the pairwise table has no room for; wget knows no SOCKS."""


def goal(client: str) -> str:
    """What `Fetched.digest` is when a client got all it asked for."""
    if client == "poetry":
        return clients.goal("pip")
    if client == "npm":
        return hashlib.sha256(NPM_SONG).hexdigest()
    if client == "apt":
        return hashlib.sha256(b"".join(noise(DEB_SIZE + number) for number in range(len(DEBS)))).hexdigest()
    return clients.goal(client)
