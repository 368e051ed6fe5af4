"""Figures as a person reads them; None, which is not known, stays None."""


def percent(rate: float | None, digits: int = 1) -> str | None:
    return None if rate is None else f"{100 * rate:.{digits}f} %"


def between(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"


def count(number: float | None) -> str | None:
    return None if number is None else f"{number:,.0f}"


def duration(seconds: float | None) -> str | None:
    """`1:23:45`, `12:04` or `35 s`."""
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
