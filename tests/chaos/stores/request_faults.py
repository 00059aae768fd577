"""What can go wrong between a client and its store, and which requests it happens to."""

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum

_MUTATING = ("PUT", "POST", "DELETE", "PATCH")


class Fault(Enum):
    """What may go wrong between a client and its store."""

    BUSY = "503, slow down"
    THROTTLED = "429, too many requests"
    BROKEN = "500, internal error"
    EXPIRED = "400, 401 or 403, the credential has expired"
    DELAY = "passed on late"
    RESET = "reset before the request was passed on"
    RESET_IN_REQUEST = "reset in the middle of the request's body"
    RESET_IN_RESPONSE = "reset in the middle of the response's body"
    CUT = "response ends before the length it declared"
    CUT_UNSEEN = "response cut short, and a length that fits"
    LOST_ACK = "done by the server, reset in place of its answer"


_REPLIES = {
    Fault.BUSY: (503, "SlowDown"),
    Fault.THROTTLED: (429, "TooManyRequests"),
    Fault.BROKEN: (500, "InternalError"),
}
OF_RESPONSE = (Fault.RESET_IN_RESPONSE, Fault.CUT, Fault.CUT_UNSEEN)


@dataclass(frozen=True)
class Request:
    """One request as it arrived: `path` has the query, names of headers are lower case, `at` is monotonic seconds."""

    method: str
    path: str
    headers: dict[str, str]
    at: float

    @property
    def mutates(self) -> bool:
        return self.method in _MUTATING


@dataclass
class Rule:
    """Which requests meet a fault.

    Attributes:
        fault: what happens to them.
        share: of those that fit, how many, drawn at random.
        method: a regular expression that the method fits as a whole.
        path: one that is found in path and query.
        times: how often at most.
        after: how many that fit pass unharmed first.
    """

    fault: Fault
    share: float = 1.0
    method: str = ".*"
    path: str = ""
    times: int | None = None
    after: int = 0
    seen: int = 0

    def fits(self, request: Request) -> bool:
        return bool(re.fullmatch(self.method, request.method) and re.search(self.path, request.path))


class Faults:
    """The plan of a proxy: rules in their order, the first that applies counts; draws are seeded.

    `counts` says how often each fault did happen.
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
                if not rule.fits(request):
                    continue
                rule.seen += 1
                if rule.seen <= rule.after or rule.times == 0 or self._random.random() >= rule.share:
                    continue
                if rule.times is not None:
                    rule.times -= 1
                return rule.fault
        return None

    def put_off(self, fault: Fault) -> None:
        """Let a fault that this request cannot have come to a later one: a body that is not there cannot be cut."""
        with self._mutex:
            for rule in self.rules:
                if rule.fault is fault and rule.times is not None:
                    rule.times += 1
                    return

    def count(self, fault: Fault) -> None:
        with self._mutex:
            self.counts[fault] += 1
