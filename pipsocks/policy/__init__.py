"""Who may go where."""
