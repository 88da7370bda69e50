"""Hops, chains, and dialling: names, addresses, Happy Eyeballs."""
