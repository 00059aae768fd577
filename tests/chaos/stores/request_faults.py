"""Faults between a client and its object store, and rules that select the requests they happen to."""

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum

_MUTATING = ("PUT", "POST", "DELETE", "PATCH")


class Fault(Enum):
    """A fault between a client and its store."""

    BUSY = "503, slow down"
    THROTTLED = "429, too many requests"
    INTERNAL_ERROR = "500, internal error"
    EXPIRED = "400, 401 or 403, the credential has expired"
    DELAY = "forwarded late"
    RESET = "reset before the request was forwarded"
    RESET_IN_REQUEST = "reset in the middle of the request's body"
    RESET_IN_RESPONSE = "reset in the middle of the response's body"
    TRUNCATED = "response ends before its declared length"
    TRUNCATED_UNNOTICED = "truncated response with a matching length"
    LOST_RESPONSE = "request executed, connection reset instead of the response"


_REPLIES = {
    Fault.BUSY: (503, "SlowDown"),
    Fault.THROTTLED: (429, "TooManyRequests"),
    Fault.INTERNAL_ERROR: (500, "InternalError"),
}
RESPONSE_FAULTS = (Fault.RESET_IN_RESPONSE, Fault.TRUNCATED, Fault.TRUNCATED_UNNOTICED)


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: the HTTP method.
        path: the path with the query.
        headers: by name in lower case.
        at: when it arrived, in seconds of the monotonic clock.
    """

    method: str
    path: str
    headers: dict[str, str]
    at: float

    @property
    def mutates(self) -> bool:
        return self.method in _MUTATING


@dataclass
class Rule:
    """Selects the requests that a fault happens to.

    Attributes:
        fault: the fault.
        share: the share of the matching requests, drawn at random.
        method: a regular expression that matches the whole method.
        path: a regular expression that matches somewhere in the path and query.
        times: the maximum number of faults; None for no limit.
        after: how many matching requests pass without the fault first.
        seen: how many matching requests there were.
    """

    fault: Fault
    share: float = 1.0
    method: str = ".*"
    path: str = ""
    times: int | None = None
    after: int = 0
    seen: int = 0

    def matches(self, request: Request) -> bool:
        return bool(re.fullmatch(self.method, request.method) and re.search(self.path, request.path))


class Faults:
    """The faults of a proxy. For each request, the first rule that applies is used. Draws are seeded.

    Attributes:
        counts: how often each fault happened.
    """

    def __init__(
        self, *rules: Rule, seed: int = 0, delay_s: float = 0.2, expired: tuple[int, str] = (403, "ExpiredToken")
    ):
        self.rules = list(rules)
        self.delay_s = delay_s
        self.replies = {**_REPLIES, Fault.EXPIRED: expired}
        self.counts: Counter[Fault] = Counter()
        self._random = random.Random(seed)
        self._mutex = threading.Lock()

    def draw(self, request: Request) -> Fault | None:
        with self._mutex:
            for rule in self.rules:
                if not rule.matches(request):
                    continue
                rule.seen += 1
                if rule.seen <= rule.after or rule.times == 0 or self._random.random() >= rule.share:
                    continue
                if rule.times is not None:
                    rule.times -= 1
                return rule.fault
        return None

    def postpone(self, fault: Fault) -> None:
        """Leave a fault to a later request, because it cannot happen to this one, for example without a body."""
        with self._mutex:
            for rule in self.rules:
                if rule.fault is fault and rule.times is not None:
                    rule.times += 1
                    return

    def count(self, fault: Fault) -> None:
        with self._mutex:
            self.counts[fault] += 1
