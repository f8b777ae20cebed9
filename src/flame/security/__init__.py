"""Who may speak to whom: certificates and their authority, TLS, logins by OIDC.

Nothing heavy loads with these modules: `cryptography`, `jwt` and `grpc` come in where they are used (extra `tls`). Clients need
`cryptography` only to make requests for certificates; to connect and to hear why a connection fails they need nothing.
"""
