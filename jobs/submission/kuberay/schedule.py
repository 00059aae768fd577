"""When a scheduled job runs: a cron expression and a time zone, checked as Kubernetes and the operator check them."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from itertools import pairwise

from pipelines.errors import FatalError
from pipelines.formatting import closest_name, excerpt

DAY_S = 86_400

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1))

# What each field of a cron expression may be. Kubernetes does not accept 7 as Sunday.
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _WEEKDAYS),
)
_ITEM = re.compile(r"(?:(?P<all>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)
_EXAMPLE = "such as '0 2 * * *' for every night at two"


@dataclass(frozen=True)
class Schedule:
    """A cron expression and its time zone.

    Attributes:
        cron: five fields: minute, hour, day of the month, month, day of the week.
        time_zone: a name of the IANA database, such as Europe/Berlin.

    Raises:
        FatalError: one of them is not valid, or the schedule never comes due.
    """

    cron: str
    time_zone: str = "Etc/UTC"

    def __post_init__(self) -> None:
        self._parse()
        known = zoneinfo.available_timezones() - {"localtime"}  # the zone of this machine
        if known and self.time_zone not in known:  # images without the tz database know none
            similar = closest_name(self.time_zone, known)
            hint = f"; did you mean {similar}?" if similar else ", such as Europe/Berlin"
            raise FatalError(f"--time-zone {excerpt(self.time_zone)}: not a time zone of the IANA database{hint}")

    @property
    def shortest_gap_s(self) -> int:
        """The shortest time between two runs on one day or on two consecutive days, in seconds."""
        minutes, hours = self._parse()[:2]
        times = sorted(60 * hour + minute for hour in hours for minute in minutes)
        return 60 * min(second - first for first, second in pairwise([*times, times[0] + DAY_S // 60]))

    def _parse(self) -> list[set[int]]:
        """Return the values of each field."""
        fields = self.cron.split()
        if len(fields) != len(_FIELDS):
            raise FatalError(
                f"--schedule {excerpt(self.cron)!r}: got {len(fields)} fields, expected 5 (minute, hour, day of the "
                f"month, month, day of the week), {_EXAMPLE}"
            )
        values = [
            {value for item in text.split(",") for value in self._parse_item(item, *field)}
            for text, field in zip(fields, _FIELDS, strict=True)
        ]
        _, _, days, months, _ = values
        if fields[4][0] in "*?" and min(days) > max(_DAYS_OF_MONTH[month] for month in months):
            raise FatalError(f"--schedule {self.cron!r}: no such month has a day {min(days)}, so it never comes due")
        return values

    def _parse_item(self, item: str, name: str, low: int, high: int, names: tuple[str, ...]) -> range:
        """Return the values of one item of a field: `*`, `3`, `1-5`, `mon-fri`, `*/15` or `10-50/20`."""
        match = _ITEM.fullmatch(item)
        if match is None:
            raise self._error(item, name, low, high)
        step = int(match["step"] or 1)
        if match["all"]:
            first, last = low, high
        else:
            first = self._parse_value(match["first"], name, low, high, names)
            last = self._parse_value(match["last"], name, low, high, names) if match["last"] else first
            if match["step"] and not match["last"]:
                last = high
        if step < 1 or first > last:
            raise self._error(item, name, low, high)
        return range(first, last + 1, step)

    def _parse_value(self, text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> int:
        value = low + names.index(text.lower()) if text.lower() in names else int(text) if text.isdecimal() else -1
        if not low <= value <= high:
            raise self._error(text, name, low, high)
        return value

    def _error(self, item: str, name: str, low: int, high: int) -> FatalError:
        return FatalError(
            f"--schedule {excerpt(self.cron)!r}: the {name} is {excerpt(item)}, expected {low} to {high}, * or a "
            f"range, {_EXAMPLE}"
        )
