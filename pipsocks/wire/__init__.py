"""Sans-io codecs: bytes in, events out. No Twisted, no I/O, no policy."""
