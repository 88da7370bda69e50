"""The types of settings that name hosts, networks, ports and what listens there; each in the one spelling it has."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final, NewType

from pipsocks.config.near import nearest
from pipsocks.config.wrong import Wrong, shown
from pipsocks.front.settings import Network
from pipsocks.model import Destination, masked
from pipsocks.policy.settings import CLASSES, RuleSettings
from pipsocks.wire.names import NameInvalid, parseHost

Endpoint = NewType("Endpoint", str)
Client = NewType("Client", str)
Pattern = NewType("Pattern", str)
HostText = NewType("HostText", str)
NetworkText = NewType("NetworkText", str)
Bypass = NewType("Bypass", str)
PortNumber = NewType("PortNumber", int)
AddressText = NewType("AddressText", str)
Ports = NewType("Ports", range)
ListenerText = NewType("ListenerText", str)
Target = NewType("Target", str)

OFF: Final = Endpoint("off")

_PATTERN: Final = re.compile(r"(?!.{256})(?:\*?\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMBER_AT_END: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$", re.ASCII)
"""What looks like an address is one for every client (`pipsocks.wire.names`), and never a name."""
_ADDRESS_HINT: Final = "write one such as 192.0.2.7 or 2001:db8::7"
_PLACE: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[^][:/?#@\s]+)):(?P<port>[0-9]{1,5})", re.ASCII
)


def _client(value: object, _: object) -> Network:
    hint = "write a network such as 172.17.0.0/16 or fd00::/8, or one address"
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?", value):
        raise Wrong(f"{shown(value)} is not a network", hint)
    try:
        wide = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Wrong(f"{shown(value)} is not a network", hint) from None
    address, slash, _prefix = value.partition("/")
    if slash and wide.network_address != ipaddress.ip_address(address):
        raise Wrong(f"{value} has bits set behind its prefix", f"write {_plain(wide)}, or {address} for one address")
    return _plain(wide)


def _plain(network: Network) -> Network:
    """An IPv4 network out of its IPv6 disguise: a connection to any address in it ends at that IPv4 address."""
    mapped = network.network_address.ipv4_mapped if network.version == 6 and network.prefixlen >= 96 else None
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _pattern(value: object, _: object) -> str:
    """What a rule is about, in the one spelling that `pipsocks.policy.settings.RuleSettings` has for it."""
    hint = "write *, a.example, .a.example, *.a.example, 10.0.0.0/8, fd00::/8, or one of " + ", ".join(CLASSES)
    if not isinstance(value, str):
        raise Wrong(f"{shown(value)} is not a host, a network or a class of addresses", hint)
    if value in CLASSES:
        return value
    if _isNumeric(value):
        return str(_client(value, Client))
    name = _named(value)
    if not name:
        raise Wrong(f"{shown(value)} is not a host, a network or a class of addresses", hint)
    if near := "" if "." in name else nearest(name.replace("_", "-"), CLASSES):
        raise Wrong(f"{name} is no class of addresses", f"did you mean {near}? If it is a host's name, write {name}.")
    return name.removesuffix(".")


def _isNumeric(text: str) -> bool:
    return ":" in text or "/" in text or bool(re.fullmatch(r"[0-9.]+", text))


def _named(text: str) -> str:
    """A pattern of hosts in lower case and in A-labels, an ASCII one's last dot still there; empty where it is none."""
    name = text.lower() if text.isascii() else _encoded(text)
    return name if name == "*" or (_PATTERN.fullmatch(name) and not _NUMBER_AT_END.search(name)) else ""


def _encoded(text: str) -> str:
    """A pattern with U-labels as those names come that it is for: from clients, and in chains."""
    below = re.match(r"(?:\*?\.)?", text)[0]  # type: ignore[index]
    try:
        return below + parseHost(text[len(below) :].encode(errors="surrogatepass"))
    except NameInvalid:
        return ""


def _host(value: object, _: object) -> str:
    """A pattern of hosts, as a route has it: there are no classes of addresses here."""
    hint = "write a.example, .a.example for it and all below it, *.a.example for what is below it, or *"
    if not isinstance(value, str) or not value:
        raise Wrong(f"{shown(value)} is not a host", hint)
    if value in CLASSES:
        written = f"write its networks, such as 10.0.0.0/8; a host of that name is {value}."
        raise Wrong(f"the class of addresses {value} is for rules only", written)
    if _isNumeric(value):
        raise Wrong(f"{shown(value)} is not the name of a host", 'networks and addresses stand in network = ["..."]')
    if not (name := _named(value)):
        raise Wrong(f"{shown(value)} is not a host", hint)
    return name.removesuffix(".")


def _network(value: object, _: object) -> str:
    """A network, as a route has it."""
    if isinstance(value, str) and value and not _isNumeric(value) and _named(value):
        raise Wrong(f"{shown(value)} is not a network", 'names of hosts, and *, stand in host = ["..."]')
    return str(_client(value, Client))


def _bypass(value: object, _: object) -> str:
    """What goes straight: a pattern of hosts, or a network, which alone has a slash in it then."""
    if not isinstance(value, str) or not value:
        hint = "write a.example, .a.example, *.a.example, 10.0.0.0/8, fd00::/8, or *"
        raise Wrong(f"{shown(value)} is not a host or a network", hint)
    text = value[1:-1] if re.fullmatch(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]", value) else value
    split = re.fullmatch(r"(.*[^:/0-9.].*):([0-9]{1,5})", value)
    if split and ":" not in split[1]:
        host = masked(split[1])
        hint = f'write {host}, or for that port alone a [[route]] with host, port = [{split[2]}] and to = "direct"'
        raise Wrong("no_proxy has no ports", hint)
    return str(_client(text, Client)) if _isNumeric(text) else _host(text, HostText)


def _port(value: object, _: object) -> int:
    if type(value) is not int or not 0 < value <= 65535:
        raise Wrong(f"{shown(value)} is not a port", "write a number from 1 to 65535")
    return value


def _rule(value: object, _: object) -> RuleSettings:
    """A rule in one text, as flags and variables have it: ``deny:PATTERN`` or ``deny:PATTERN:PORT``."""
    hint = "write allow:PATTERN or deny:PATTERN, such as deny:10.0.0.0/8 or allow:*.example:443"
    verdict, _colon, what = value.partition(":") if isinstance(value, str) else ("", "", "")
    if verdict not in ("allow", "deny"):
        raise Wrong(f"{shown(value)} is not a rule", hint)
    # Without a port, what has colons is IPv6, in brackets or not.
    split = re.fullmatch(r"(?:\[(?P<six>[^]]*)\]|(?P<other>[^:]*))(?::(?P<port>[0-9]{1,5}))?", what)
    pattern = what if split is None else split["six"] if split["six"] is not None else split["other"]
    ports = (_port(int(split["port"]), PortNumber),) if split is not None and split["port"] else ()
    return RuleSettings(verdict == "allow", _pattern(pattern, Pattern), ports)


def _address(value: object, _: object) -> str:
    """An address; empty for none."""
    if value == "":
        return ""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}", value):
        raise Wrong(f"{shown(value)} is not an address", _ADDRESS_HINT)
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise Wrong(f"{shown(value)} is not an address", _ADDRESS_HINT) from None


def _ports(value: object, _: object) -> range:
    """A range of ports; the one port 0, which stands for any, where there is none."""
    if value == "":
        return range(1)
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
    if found is None or not 0 < int(found[1]) <= int(found[2]) <= 65535:
        raise Wrong(f"{shown(value)} is not a range of ports", "write it as 40000-40100")
    return range(int(found[1]), int(found[2]) + 1)


def _endpoint(value: object, _: object) -> str:
    """
    A Twisted endpoint description, from one or from a short form.

    Short forms: ``1080`` (on 127.0.0.1), ``127.0.0.1:1080``, ``[::1]:1080``, ``off``.
    """
    hint = "write PORT, ADDRESS:PORT, [IPV6]:PORT, off, or a Twisted endpoint such as tcp:1080:interface=127.0.0.1"
    if type(value) is int:
        raise Wrong(f"{value} is not a text", f'write it in quotes: "{value}"')
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong(f"{shown(value)} is not a port to listen on", hint)
    if value == OFF:
        return OFF
    if value.startswith("haproxy:"):
        raise Wrong("the PROXY protocol is not there yet", "leave haproxy: away")
    short = re.fullmatch(r"(?:(?P<four>[0-9.]+):|\[(?P<six>[0-9A-Fa-f:.]+)\]:)?(?P<port>[0-9]+)", value)
    if short is None:
        if ":" not in value or value.startswith((":", "*", "[", "localhost:")):
            raise Wrong(f"{shown(value)} is not a port to listen on", hint)
        return value
    host, port = short["four"] or short["six"] or "127.0.0.1", short["port"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise Wrong(f"{shown(host)} is not an address", hint) from None
    if len(port) > 5 or int(port) > 65535:
        raise Wrong(f"{shown(port)} is not a port", "write a number from 1 to 65535")
    return f"tcp:{int(port)}:interface=" + str(address).replace(":", r"\:")


def _listener(value: object, _: object) -> str:
    """A listener, as a route names it: its protocol, or the address that it is bound to."""
    hint = 'write "socks", "http", or the address of a listener, "127.0.0.1:1080" or "[::1]:1080"'
    if value in ("socks", "http"):
        return str(value)
    found = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found["port"]) <= 65535:
        raise Wrong(f"{shown(value)} is not a listener", hint)
    try:
        address = ipaddress.ip_address(found["six"] or found["host"])
    except ValueError:
        raise Wrong(f"{shown(value)} is not a listener", hint) from None
    return str(Destination(printed(address), int(found["port"])))


def _target(value: object, _: object) -> Destination | None:
    """A host and a port; None for the empty text, which is for none."""
    if value == "":
        return None
    hint = 'write HOST:PORT, such as "index.example:443" or "[2001:db8::7]:443"'
    found = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found["port"]) <= 65535:
        raise Wrong(f"{shown(value)} is not a host and a port", hint)
    host = found["six"] or found["host"]
    try:
        return Destination(printed(ipaddress.ip_address(host)), int(found["port"]))
    except ValueError:
        name = "" if found["six"] or host.startswith((".", "*")) else _named(host)
    if not name:
        raise Wrong(f"{shown(value)} is not a host and a port", hint)
    return Destination(name.removesuffix("."), int(found["port"]))


def printed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As ``inet_ntop`` does, which all Python versions agree on, and `pipsocks.wire.names` with them."""
    return socket.inet_ntop(socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed)


HOOKS: Final = (
    (Endpoint, _endpoint),
    (Client, _client),
    (Pattern, _pattern),
    (HostText, _host),
    (NetworkText, _network),
    (Bypass, _bypass),
    (PortNumber, _port),
    (RuleSettings, _rule),
    (AddressText, _address),
    (Ports, _ports),
    (ListenerText, _listener),
    (Target, _target),
)
"""Each type, and what makes one of a value of the file."""
