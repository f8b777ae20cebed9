"""The API server: HTTP for everything a cluster knows. A client of the SDK like any user; it never unpickles and never decides who may
do what: every request is done with the rights of its token, by the session manager."""
