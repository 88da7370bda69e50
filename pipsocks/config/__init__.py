"""A TOML file, the environment and the command line become one frozen settings object."""
