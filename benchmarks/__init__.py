"""pipsocks beside its peers: ``python -m benchmarks``."""
