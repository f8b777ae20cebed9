"""Which errors an operation may answer: what the OpenAPI document says about them."""

from __future__ import annotations

from litestar.openapi.datastructures import ResponseSpec

from flame.gateway.failures import Failed


def _spec(text: str) -> ResponseSpec:
    return ResponseSpec(Failed, generate_examples=False, description=text)


COMMON = {
    400: _spec("The request is not legal."),
    401: _spec("No token, or a wrong one."),
    403: _spec("The token may not do this, or a browser asks from elsewhere."),
    421: _spec("The request is addressed to another host."),
    429: _spec("Too many requests; Retry-After says when to try again."),
    503: _spec("The cluster cannot answer now; Retry-After says when to try again."),
    504: _spec("The cluster did not answer in time."),
}
FOUND = COMMON | {404: _spec("It is not there."), 409: _spec("It is not in a state for this.")}
