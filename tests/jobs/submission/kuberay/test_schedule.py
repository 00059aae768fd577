"""Cron expressions and time zones."""

import pytest

from jobs.submission.kuberay import DAY_S, Schedule
from pipelines.errors import FatalError


@pytest.mark.parametrize(
    ("cron", "gap_s"),
    [
        ("0 2 * * *", DAY_S),
        ("*/15 * * * *", 15 * 60),
        ("30 1,13 * * mon-fri", 12 * 3600),
        ("0 22,2 * * *", 4 * 3600),
        ("5 0 29 feb ?", DAY_S),
        ("0-10/5 4 1-7 1/3 SUN", 5 * 60),
    ],
)
def test_valid_schedules(cron, gap_s):
    assert Schedule(cron, "Europe/Berlin").shortest_gap_s == gap_s


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 2 * *", "got 4 fields, expected 5"),
        ("@daily", "got 1 fields, expected 5"),
        ("0 24 * * *", "the hour is 24, expected 0 to 23"),
        ("60 2 * * *", "the minute is 60, expected 0 to 59"),
        ("0 2 0 * *", "the day of the month is 0, expected 1 to 31"),
        ("0 2 * 13 *", "the month is 13, expected 1 to 12"),
        ("0 2 * * 7", "the day of the week is 7, expected 0 to 6"),
        ("0 2 * * monday", "the day of the week is monday, expected 0 to 6"),
        ("0 2-1 * * *", "the hour is 2-1, expected 0 to 23"),
        ("*/0 2 * * *", "the minute is */0, expected 0 to 59"),
        ("0 2 31 4,6 *", "no such month has a day 31"),
        ("TZ=UTC 0 2 * * *", "got 6 fields, expected 5"),
        ("٣ 2 * * *", "the minute is ٣, expected 0 to 59"),
        ("0 2 1, * *", "the day of the month is , expected 1 to 31"),
    ],
)
def test_invalid_schedules(cron, message):
    with pytest.raises(FatalError) as caught:
        Schedule(cron)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_time_zones():
    with pytest.raises(FatalError, match=r"--time-zone Europe/Berln: .*did you mean Europe/Berlin\?"):
        Schedule("0 2 * * *", "Europe/Berln")
    for other in ("🕑", "localtime", ""):
        with pytest.raises(FatalError, match="such as Europe/Berlin"):
            Schedule("0 2 * * *", other)
