``pipsocks:HOST:PORT:group=NAME:config=FILE`` is an endpoint over a whole group, for other Twisted programs.
