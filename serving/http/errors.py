"""What a request can do wrong, as one line and a status."""

from __future__ import annotations


class Refused(Exception):
    """A request that is answered with 4xx, and why.

    Args:
        reason: one line.
        status: of HTTP.
    """

    def __init__(self, reason: str, status: int = 422) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


class NotFound(Refused):
    """An id that the export does not have."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 404)


class Missing(Refused):
    """Something that this service cannot do, because it has not been given what it takes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 409)
