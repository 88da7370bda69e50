"""Plain HTTP requests: one gated request in, one response out."""
