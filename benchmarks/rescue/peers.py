"""
The peers, each set up as favourably for a pool of failing exits as its manual allows.

Where a manual names a switch for trying again, for going on to another exit or for leaving a dead one out, it is on.
What a peer cannot do at all is said in its place. None of them keeps a first flight, resumes a download, or begins a
second attempt beside a slow one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import besidePython, which, written
from benchmarks.rescue.exits import HTTP, SOCKS, Exit
from benchmarks.rescue.proxies import PIPSOCKS, Proxy


def _squid(
    program: str, ports: Mapping[str, int], exits: Sequence[Exit], group: Mapping[str, Any], folder: Path
) -> list[str]:
    # squid.conf.documented of squid 5.7. cache_peer: "no-query" for parents that speak no ICP, "round-robin" for that
    # strategy; without it the first is asked, and then the others. "connect-fail-limit" leaves a parent out that failed
    # so often: with its default of 10 all are left out where each fails now and then, and 90 of 100 clients get a 500.
    # never_direct, with nonhierarchical_direct and prefer_direct off: everything goes by the parents, CONNECT included.
    # forward_max_tries is how many are asked, forward_timeout how long; retry_on_error asks another one after a 403,
    # 500, 503 and so on. connect_retries is for one address of one parent, so it stays 0 where there are others.
    # With its default read_timeout of 15 minutes a silent parent is waited for as long; so short, a slow page is lost.
    way = " round-robin" if group.get("strategy") == "round-robin" else ""
    peers = "\n".join(
        f"cache_peer 127.0.0.1 parent {each.port} 0 no-query no-digest no-netdb-exchange name=exit{number}"
        f" connect-timeout=3 connect-fail-limit=1000000{way}"
        for number, each in enumerate(exits)
    )
    text = f"""http_port 127.0.0.1:{ports["http"]}
http_access allow all
{peers}
never_direct allow all
nonhierarchical_direct off
prefer_direct off
forward_max_tries 8
forward_timeout 8 seconds
read_timeout 7 seconds
connect_timeout 3 seconds
retry_on_error on
cache deny all
access_log none
cache_log {folder}/cache.log
pid_filename none
coredump_dir {folder}
netdb_filename none
shutdown_lifetime 0 seconds
pinger_enable off
visible_hostname squid.example
max_filedescriptors 16384
"""
    # By its name squid calls its shared memory: two of one name would clash.
    return [program, "-N", "-n", f"rescue{ports['http']}", "-f", written(folder / "squid.conf", text)]


def _pproxy(
    program: str, ports: Mapping[str, int], exits: Sequence[Exit], group: Mapping[str, Any], folder: Path
) -> list[str]:
    # README of pproxy 2.7: several -r, with -s for the scheduling: "fa" the first that is alive, "rr" round-robin; with
    # -a each is tried out every so many seconds, and one that fails is not alive.
    command = [program, "-s", "rr" if group.get("strategy") == "round-robin" else "fa", "-a", "1"]
    for protocol, port in ports.items():
        command += ["-l", f"{'socks5' if protocol == 'socks' else 'http'}://127.0.0.1:{port}"]
    for each in exits:
        command += ["-r", f"{'socks5' if each.scheme == SOCKS else 'http'}://127.0.0.1:{each.port}"]
    return command


def _haproxy(
    program: str, ports: Mapping[str, int], exits: Sequence[Exit], group: Mapping[str, Any], folder: Path
) -> list[str]:
    # Configuration manual of haproxy 2.6. It speaks neither SOCKS nor CONNECT: in mode tcp it joins a client to an
    # exit, and the two of them talk. "retries" with "option redispatch 1" goes on to another server with each attempt
    # to connect; "retry-on" is for mode http alone. Health: a tcp-check that speaks the exit's protocol each second,
    # and "observe layer4" with "on-error mark-down" for what traffic shows. "balance first" is the order.
    # "timeout server" is a tunnel's idle limit too, so that a silent exit is waited for as long as a slow page.
    way = "roundrobin" if group.get("strategy") == "round-robin" else "first"
    checks = {
        SOCKS: ["tcp-check send-binary 050100", "tcp-check expect binary 0500"],
        HTTP: ["tcp-check send OPTIONS\\ *\\ HTTP/1.0\\r\\n\\r\\n", "tcp-check expect rstring ^HTTP/1"],
    }
    lines = [
        "global", "  maxconn 4096", "defaults", "  mode tcp", "  timeout connect 3s", "  timeout client 60s",
        "  timeout server 60s", "  timeout check 1s", "  retries 3", "  option redispatch 1",
    ]  # fmt: skip
    for protocol, port in ports.items():
        scheme = SOCKS if protocol == "socks" else HTTP
        lines += [f"listen {protocol}", f"  bind 127.0.0.1:{port}", f"  balance {way}", "  option tcp-check"]
        lines += [f"  {line}" for line in checks[scheme]]
        lines += [
            f"  server exit{number} 127.0.0.1:{each.port} maxconn 1000 check inter 1s fall 2 rise 1 observe layer4"
            " error-limit 5 on-error mark-down"
            for number, each in enumerate(exits)
        ]
    return [program, "-db", "-f", written(folder / "haproxy.cfg", "\n".join([*lines, ""]))]


PROXIES = (
    PIPSOCKS,
    Proxy("squid", frozenset({HTTP}), ("http",), which("squid"), _squid),
    Proxy("pproxy", frozenset({SOCKS, HTTP}), ("socks", "http"), besidePython("pproxy"), _pproxy, checks=True),
    Proxy("haproxy", frozenset({SOCKS, HTTP}), ("socks", "http"), which("haproxy"), _haproxy, True, True),
)
