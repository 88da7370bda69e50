"""
TLS ClientHellos for tests: built field by field, made by libraries, captured from programs; and a second reading.

The captured ones came over loopback, on Debian 12: what the client had said 1.5 s after it connected.
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Sequence
from io import BytesIO

from OpenSSL import SSL

SUITES = bytes.fromhex("130113021303c02bc02fc02cc030")
GROUPS, SIGNATURES, VERSIONS, KEY_SHARE, PADDING, EARLY_DATA, ECH = 10, 13, 43, 51, 21, 42, 65_037
X25519MLKEM768 = 0x11EC


def vector(width: int, content: bytes) -> bytes:
    """Octets behind their length."""
    return len(content).to_bytes(width, "big") + content


def extension(kind: int, content: bytes = b"") -> bytes:
    """One extension."""
    return kind.to_bytes(2, "big") + vector(2, content)


def serverName(name: bytes) -> bytes:
    """The extension with the server's name."""
    return extension(0, vector(2, b"\0" + vector(2, name)))


def message(
    *extensions: bytes,
    version: bytes = b"\3\3",
    random: bytes = bytes(range(32)),
    session: bytes = b"",
    suites: bytes = SUITES,
    compressions: bytes = b"\0",
    bare: bool = False,
) -> bytes:
    """A ClientHello, as a handshake message: without the block of extensions where it is `bare`."""
    block = b"" if bare else vector(2, b"".join(extensions))
    fields = vector(1, session) + vector(2, suites) + vector(1, compressions)
    return b"\1" + vector(3, version + random + fields + block)


def records(data: bytes, sizes: Sequence[int] = (), version: bytes = b"\3\1") -> bytes:
    """A handshake message in records: of these sizes, and one with the rest."""
    out = b""
    for size in (*sizes, len(data)):
        fragment, data = data[:size], data[size:]
        out += b"\x16" + version + vector(2, fragment) if fragment else b""
    return out


def modern(*extensions: bytes, name: bytes = b"a.example") -> bytes:
    """A message as today's browsers send it, with a post-quantum key share (X25519MLKEM768: 1216 octets)."""
    share = X25519MLKEM768.to_bytes(2, "big") + vector(2, bytes(1216))
    return message(
        serverName(name),
        extension(GROUPS, vector(2, X25519MLKEM768.to_bytes(2, "big"))),
        extension(SIGNATURES, vector(2, b"\4\3\x08\4")),
        extension(VERSIONS, vector(1, b"\3\4")),
        extension(KEY_SHARE, vector(2, share)),
        *extensions,
        session=bytes(32),
    )


def padded(octets: int, sizes: Sequence[int] = ()) -> bytes:
    """A flight of just so many octets, in one record more than there are sizes."""
    spare = octets - 5 * (len(sizes) + 1) - len(modern(extension(PADDING)))
    flight = records(modern(extension(PADDING, bytes(spare))), sizes)
    assert len(flight) == octets
    return flight


def pythons(version: ssl.TLSVersion, name: str | None, alpn: Sequence[str] = ()) -> bytes:
    """What Python's ssl says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("nobody to shake hands with")


def pyOpenSSLs(name: bytes) -> bytes:
    """What pyOpenSSL says first; its OpenSSL has post-quantum key shares from 3.5 on."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_tlsext_host_name(name)
    connection.set_connect_state()
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return connection.bio_read(65_536)
    raise AssertionError("nobody to shake hands with")


def heard(flight: bytes) -> str | None:
    """The server's name as Python's ssl reads it; None where it finds no ClientHello, or no name in it."""
    names: list[str | None] = []

    def look(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.sni_callback = look
    received = ssl.MemoryBIO()
    received.write(flight)
    try:
        context.wrap_bio(received, ssl.MemoryBIO(), server_side=True).do_handshake()
    except ssl.SSLError:
        return names[0] if names else None
    raise AssertionError("no server without a certificate")


def rebuilt(flight: bytes) -> tuple[bytes, set[int]]:
    """
    A flight read loosely and written anew, and the extensions in it: a ClientHello, if it says the same as before.

    It shares nothing with the codec but the RFCs.
    """
    source, sizes, data, size = BytesIO(flight), [], b"", 4
    records_: list[bytes] = []
    while len(data) < size:
        header = source.read(5)
        fragment = source.read(int.from_bytes(header[3:], "big"))
        if not fragment:
            return b"", set()
        sizes.append(len(fragment))
        records_.append(header[1:3])
        data += fragment
        size = 4 + int.from_bytes(data[1:4], "big")
    source = BytesIO(data[4:size])

    def read(width: int, source: BytesIO) -> bytes:
        return source.read(int.from_bytes(source.read(width), "big"))

    known = {b"\3\1", b"\3\2", b"\3\3"}
    version, random = source.read(2), source.read(32)
    session, suites, compressions = read(1, source), read(2, source), read(1, source)
    bare = source.tell() == size - 4
    block = BytesIO(read(2, source))
    extensions: dict[int, bytes] = {}
    while len(kind := block.read(2)) == 2:
        extensions[int.from_bytes(kind, "big")] = read(2, block)
    written = []
    for each, content in extensions.items():
        written.append(serverName(content[5:]) if each == 0 else extension(each, content))
    again = message(
        *written,
        version=version if version in known else b"??",
        random=random,
        session=session[:32],
        suites=suites[: len(suites) // 2 * 2] or SUITES,
        compressions=compressions if b"\0" in compressions else b"\0",
        bare=bare,
    )
    out = BytesIO(again)
    anew = b""
    for length, each in zip(sizes, records_, strict=True):
        anew += b"\x16" + (each if each[:1] == b"\3" else b"??") + vector(2, out.read(length))
    return anew + (b"" if out.tell() == len(again) else out.read()), set(extensions)


CURL = b64decode(
    "FgMBAgABAAH8AwPnnmLunxdA8JtCAuCbxWu6cyj5lRsC8GWhw6Nr9RselyAisSS+U46BBEn4nChhMgIHcT0iyFWTFNHTihoHkiTHbQA+EwITAxMB"
    "wCzAMACfzKnMqMyqwCvALwCewCTAKABrwCPAJwBnwArAFAA5wAnAEwAzAJ0AnAA9ADwANQAvAP8BAAF1AAAAEQAPAAAMY3VybC5leGFtcGxlAAsA"
    "BAMAAQIACgAWABQAHQAXAB4AGQAYAQABAQECAQMBBAAQAA4ADAJoMghodHRwLzEuMQAWAAAAFwAAADEAAAANACoAKAQDBQMGAwgHCAgICQgKCAsI"
    "BAgFCAYEAQUBBgEDAwMBAwIEAgUCBgIAKwAJCAMEAwMDAgMBAC0AAgEBADMAJgAkAB0AIHlLk1V4hdcV0b927Ygq4Mk0ZLS2X2mcUBR9aAb3WIwf"
    "ABUAsQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAA=="
)
"""curl 7.88 with OpenSSL 3.0: ``curl https://curl.example:PORT/ --resolve curl.example:PORT:127.0.0.1``."""

CURL_TLS12 = b64decode(
    "FgMBANcBAADTAwNX0OJuDZ84aBhSrMzyLt3tQeWcVNnsrvOv/qaasTbFrgAAOMAswDAAn8ypzKjMqsArwC8AnsAkwCgAa8AjwCcAZ8AKwBQAOcAJ"
    "wBMAMwCdAJwAPQA8ADUALwD/AQAAcgAAABEADwAADGN1cmwuZXhhbXBsZQALAAQDAAECAAoADAAKAB0AFwAeABkAGAAQAAsACQhodHRwLzEuMQAW"
    "AAAAFwAAAA0AKgAoBAMFAwYDCAcICAgJCAoICwgECAUIBgQBBQEGAQMDAwEDAgQCBQIGAg=="
)
"""The same with ``--tls-max 1.2 --http1.1``."""

CHROMIUM = b64decode(
    "FgMBB34BAAd6AwP+wJHTwrmreA5y9xOYNrqxaZszSeaVnvzf3kqre2bT2CDujb24PJygH9fFwOLlRVOOB6fmAPivHDq7YeF89WeEjgAgamoTARMC"
    "EwPAK8AvwCzAMMypzKjAE8AUAJwAnQAvADUBAAcR6uoAAMo0ALoAuAWC3xMCAQWC3xMCBgWC3xMCDQWC3xMCDgWC3xMCDwWC3xMCEgWC3xMCEwWC"
    "3xMCFAiDmmSMmy0BBwiDmmSMmy0BCAiDmmSMmy0BCQiDmmSMmy0BCgiDmmSMmy0BCwiDmmSMmy0BDAiDmmSMmy0BDQiDmmSMmy0BEgiDmmSMmy0B"
    "EwTWeQkBBNZ5CQQE1nkJBQTWeQkGBNZ5CQcE1nkJCATWeQkKBNZ5CQsE1nkJDATWeQkNBNZ5CQ8AEAAOAAwCaDIIaHR0cC8xLjEAKwAHBqqqAwQD"
    "AwAjAAAACgAMAAoqKhHsAB0AFwAYABcAAAASAAAAGwADAgACAC0AAgEBRM0ABQADAmgyAA0AGgAYuroJBAkFCQYEAwgEBAEFAwgFBQEIBgYBAAUA"
    "BQEAAAAA/g0AugAAAQABVAAg0ltOdMZrSYL3hXdzhW8jSXiCyQLIHOfSEpBRrKcXjhQAkGetUrAc3AVzAweDdeEOmldvl5n12GUZzcdpb/UinX/6"
    "nLF8LhM27TTzdai+9L7NiePeKS5NMJBzJNE+UihcdWZZX3grJGDzmE0WHFxgnGtqisUkQ+qXxQkMVGlgWnjttajzzzM2hmbBi3XQNIorWTldW5od"
    "iwL65ygs8xHJBwdJprJ9mr/7eCXMWsGa2r4AqQAAABQAEgAAD2Jyb3dzZXIuZXhhbXBsZf8BAAEAADME7wTtKioAAQAR7ATA8+qQNpROGsTHYxXP"
    "9tgbrdIHDxaSnEhTULl9EpMbQcmHT2pYUgmwO4gP5HULKhsi8no7QXgekrW3vLuPPkpchxxPldRxXqdNtCeVwjWLvplqkjmHfgA6F+kFqprA3phv"
    "8XJQvoqqkrhNKpm0A9sSuYgMR2BY51h00MyT8DQkSZI7NnJR/+NXyXIO3+aUk8qWxXtjRagDkOspsEo6/eICqSWyd4ElWqeK2VQc82lj40q2zWpC"
    "IwM6sxJ92GSSLkJPb7GINglAN7Ju4Xcq2uONx0AbAdGJ4zMDUOdLbyl2loVaXiKpTgxV0+GHlTWrEepnIgZcNrsOHFgz4GcE3QWGtfCGeZFTAzgg"
    "dTKejrG8brK/Uzuhj0rLBkNkuaw45GoA+kph2gkw1IxqIAiIMEZDtciTauyYzONymFq2s2vKt3kl+7s69feUtiuWysWWp/ZAc0E0ibimuaM7anNO"
    "nKdyDnZ7F/k3rJRh2JdloEcnWLbPUqN5tizIDZKF8yS/O3dFrpuy7EBXjQQiFeIV44qL0nWla4U5Eyt7l3Q3RRepeLVHdrstIvouteQEoVlQWUoX"
    "ylFdQkqUQsBejoDHHzYjWql3DWW+XQkga2ZJKfxaDJRY+2xDUPSfqFYZzpQACUqf2VICbQdVzJQ4p5p5iHwKBFlusPZulLCraeBnocZ5m1MAj/Kn"
    "57ah9opF28pTEveC+DyikJPNQCJo7CBVDHu5q5w8hfwWj6q5f3q+zvMlAfRlusYX2DihFZR7ghWi/6uuvTl84VW6ShkZ5vsFG/MDI6KE4jiEbTII"
    "BmDL1gRdrXik0lw+ThqSAut4ESSUqAxGAOm9VWoh3UBYQzkqbsbONeI3ChAeVZxll8imxFuzybMJUWgpLBx2YlKGqGFhPzaCv6WPxSdHDrkO29HF"
    "DbJWNMLIwEcmsfWlGhYdCQWBIPB3/KR4EpOkecJtcruMO6mzTTyDpyt+8IUm1MdL5ErDuCeI9Bs9sMZokMJMXjBEhsKmVrhpFHCn2dxKfZgDUULF"
    "E+oNVEGliXVx8Dsid7mDvUKZbZYea4ESvntorCw3BIm5m+t5vgA7amRuqjpBIYTO28Gv+UMiG9RL9gx8z1SGAPRQLIBLNwNCLwyhOxtZ7BRnwMgq"
    "Keembmw75wWnFNyweGiCjxNRp1IIgNUgaswG/JSEBftCWBElAIqz49MNnJd1DalmdwjOAvGC1agu97Ult+II/7XJyBB9b1a9RWDARMxNnvJEeMeY"
    "yfif+pVn1WhXKrwh30SSsPEpRhpoOrrO7VWz0IIzeJWlL4tKKEzMcwd6ZWg/97ZK0BsmmJmrnAhU96WXB4vHl6rKcdAZc+GQBYqMyAcvnFqa82qx"
    "rRpLTzHDXzwNfZUbxAzEHAIeuNjI0dOZx1Z8JRW336dfPNp6qTJTCEMPzYCGidw0MKupSEFPZCaPhWoYwAccCCE4OhCOwJMck9QngvhpknS7IiEB"
    "HkpCgzs1lKC1YVqMFGlRy6Wdgyc+eMBFjpeIEhABUbdb/EYRLzbBijis96DPPlw8B6T0Mau2Fu7jhym427jFrKwTTaDDGV/R+MveCBIkYJcOLmel"
    "pcMfP5G0HWFuPT9k69yZBQZ5rP5b+VM31U3CDQAdACBCu2U/BookvYLQklMI3fEKgmSIH010i3uSbUhAgaicJwALAAIBAPr6AAEA"
)
"""Chromium 156, headless: X25519MLKEM768, GREASE, and a GREASE of Encrypted ClientHello."""

RESUMED = b64decode(
    "FgMBAZUBAAGRAwNJVQJzRhvSS2Ml68t+ZRJhhxwEQQrDsyuFx7s70COSMCAfxKpDKY9DY/vIAczqOJTY2GbcJMNUCRy0U2TesqhuNQA+EwITAxMB"
    "wCzAMACfzKnMqMyqwCvALwCewCTAKABrwCPAJwBnwArAFAA5wAnAEwAzAJ0AnAA9ADwANQAvAP8BAAEKAAAADgAMAAAJYS5leGFtcGxlAAsABAMA"
    "AQIACgAWABQAHQAXAB4AGQAYAQABAQECAQMBBAAjAAAAFgAAABcAAAANACoAKAQDBQMGAwgHCAgICQgKCAsIBAgFCAYEAQUBBgEDAwMBAwIEAgUC"
    "BgIAKwAJCAMEAwMDAgMBAC0AAgEBADMAJgAkAB0AIJoh25NeNd1NeoHv7lz0fEwZKkWngcUdKPRUQ2drQB1lACkAWwAmACCKEY+ncoxi6kLYbOto"
    "hQ+RJweHeUyJevCg6ZgwHbjRTUPgWmsAMTBM4TbhY0oV2r3RCjwvVv4jC1QMPp893dCOo/uD7CWFr0Kdyg1+MO4dvVtzhC1YZWA="
)
"""``openssl s_client -servername a.example -sess_in FILE``: with a ticket (pre_shared_key), without early data."""

ZERO_RTT = b64decode(
    "FgMBAZkBAAGVAwPO5pJpT0teRsa7yTul8u1ZHMsF9VD7dlVtIm2/sExf6iAM9jngmx8ZX8U2WIKxnkwhTiukhL6OzX9m/KugFfu44wA+EwITAxMB"
    "wCzAMACfzKnMqMyqwCvALwCewCTAKABrwCPAJwBnwArAFAA5wAnAEwAzAJ0AnAA9ADwANQAvAP8BAAEOAAAADgAMAAAJYS5leGFtcGxlAAsABAMA"
    "AQIACgAWABQAHQAXAB4AGQAYAQABAQECAQMBBAAjAAAAFgAAABcAAAANACoAKAQDBQMGAwgHCAgICQgKCAsIBAgFCAYEAQUBBgEDAwMBAwIEAgUC"
    "BgIAKwAJCAMEAwMDAgMBAC0AAgEBADMAJgAkAB0AIA64vceJKlM7Xt5xDe4h971Z13ojXb0Kwm2FInhflxAiACoAAAApAFsAJgAgiuIcsAD0thIk"
    "ht2/waOiPuGuCzn3Ux6cnDOnm0bKouZphUZCADEw04fUbnFqlGtyRCpoE/P8d1iJCb3ubNgZe+7GggWR2YMjXfGidJ6s5WrP1ZCw4+77FAMDAAEB"
    "FwMDACO1oM80mzrOSngLiUPihHuEqgz51ObnDunRn5jVG/2AYtLxhw=="
)
"""The same with ``-early_data FILE``, against ``openssl s_server -early_data``, which accepted it: the ClientHello, a
ChangeCipherSpec, the early data."""

CAPTURED = {
    "curl": (CURL, "curl.example"),
    "curl, TLS 1.2": (CURL_TLS12, "curl.example"),
    "Chromium": (CHROMIUM, "browser.example"),
    "OpenSSL with a ticket": (RESUMED, "a.example"),
}
"""Flights of one ClientHello each, and the server's name in it."""
