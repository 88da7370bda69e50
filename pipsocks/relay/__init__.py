"""Two legs joined until both directions are done."""
