"""pipsocks: a SOCKS5 and HTTP forward proxy with one upstream chain and one retry policy."""

__version__ = "0.1.0"
