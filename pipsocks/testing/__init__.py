"""Faulty hops and origins, for our tests and our users'."""
