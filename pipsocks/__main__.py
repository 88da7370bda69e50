"""``python -m pipsocks``: the same as the ``pipsocks`` command."""

from pipsocks.cli import main

if __name__ == "__main__":
    main()
