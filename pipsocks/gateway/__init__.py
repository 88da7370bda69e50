"""One session's life: which chain next, when to stop, and handing two streams to the relay."""
