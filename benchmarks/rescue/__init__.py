"""The rescue benchmark: what becomes of clients whose exits fail, with pipsocks and with its peers."""
