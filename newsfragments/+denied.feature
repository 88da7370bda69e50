The journal says which route denied a request (``route=deny``, with its condition), and of a tunnel through an upstream that brought no byte back, in words, which upstream it was.
