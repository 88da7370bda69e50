"""pipsocks: a SOCKS5 and HTTP forward proxy whose upstreams share one retry policy."""

__version__ = "0.1.0"
