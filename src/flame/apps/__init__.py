"""The built-in applications `flmping` and `flmexec`: services like any user's."""
