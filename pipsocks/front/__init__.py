"""Who speaks, and what do they want: the first byte, the SOCKS and the HTTP conversation."""
