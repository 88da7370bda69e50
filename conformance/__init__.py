"""What proxies do with what clients and origins send, asked from outside: ``python -m conformance``."""
