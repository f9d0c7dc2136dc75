"""Python reads this when it starts: its clock then goes wrong by as many seconds as a file says."""

import datetime
import os
import time

_FILE = os.environ.get("HUGBENCH_CHAOS_CLOCK")
_time, _time_ns = time.time, time.time_ns


def _wrong_by() -> int:
    try:
        with open(_FILE or "") as stream:
            return int(stream.read() or 0)
    except (OSError, ValueError):
        return 0


class _Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _datetime)


_datetime = datetime.datetime


class _Datetime(_datetime, metaclass=_Kind):
    __slots__ = ()  # as large as its base: NumPy looks

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return _datetime.fromtimestamp(time.time(), tz)


if _FILE:
    time.time = lambda: _time() + _wrong_by()
    time.time_ns = lambda: _time_ns() + _wrong_by() * 10**9
    datetime.datetime = _Datetime  # type: ignore[misc]
