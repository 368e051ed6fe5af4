"""Numbers that change over env steps, as a config writes them."""

import re

_SCHEDULE = re.compile(r"\s*(linear|step_linear)\(([^()]*)\)\s*")
_LENGTHS = {"linear": 3, "step_linear": 5}


def parse(spec: float | str) -> tuple[list[float], list[float]]:
    """(values, env steps between them) of a number, `linear(a,b,d)` or `step_linear(a,b,d1,c,d2)`.

    Raises ValueError for anything else.
    """
    match = _SCHEDULE.fullmatch(spec) if isinstance(spec, str) else None
    if match is None:
        if isinstance(spec, bool):
            raise ValueError(f"{spec} is no number")
        return [float(spec)], []
    a, *rest = numbers = [float(number) for number in match[2].split(",")]
    if len(numbers) != _LENGTHS[match[1]]:
        raise ValueError(f"{spec} has {len(numbers)} numbers")
    return [a, *rest[::2]], rest[1::2]


def schedule(spec: float | str, step: int) -> float:
    """Value at `step` of a number, `"linear(a,b,d)"` or `"step_linear(a,b,d1,c,d2)"`.

    linear goes from a to b over d steps and stays; step_linear goes from a to b over d1 steps,
    then from b to c over d2. Anything else is a `NotImplementedError`.
    """
    try:
        values, durations = parse(spec)
    except (ValueError, TypeError) as error:
        raise NotImplementedError(
            f"schedule {spec!r} is unknown; known: a number, linear(a,b,d), "
            "step_linear(a,b,d1,c,d2)"
        ) from error
    value = values[0]
    passed = 0.0
    for start, end, duration in zip(values, values[1:], durations, strict=False):
        value = _ramp(start, end, duration, step - passed)
        if step - passed <= duration:
            break
        passed += duration
    return value


def _ramp(start: float, end: float, duration: float, step: float) -> float:
    mix = min(max(step / duration, 0.0), 1.0) if duration > 0 else 1.0
    return (1.0 - mix) * start + mix * end
