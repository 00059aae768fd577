"""Valid files, a little wrong: what damage, haste and malice make of bytes and of JSON."""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The full run (`make chaos`) draws new examples each time, and many more; the quick one the same each time.
THOROUGH = bool(os.environ.get("XLM_CHAOS"))


def examples(quick: int, thorough: int) -> settings:
    """Say how many examples are drawn."""
    return settings(
        max_examples=thorough if THOROUGH else quick,
        derandomize=not THOROUGH,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def mutated(draw: st.DrawFn, data: bytes, *, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Change some places of valid bytes: overwrite, put in, take out, double, cut off.

    Args:
        draw: Hypothesis' own.
        data: what is valid.
        tokens: what to put in beside noise, such as the format's own marks.
    """
    result = bytearray(data)
    noise = st.one_of(st.binary(max_size=8), *([st.sampled_from(tokens)] if tokens else []))
    for _ in range(draw(st.integers(1, 4))):
        # Hypothesis tries the ends of a range often; they are where formats keep what matters
        place = draw(st.integers(0, len(result)))
        length = draw(st.integers(0, 12))
        match draw(st.sampled_from(["overwrite", "insert", "remove", "double", "cut", "flip"])):
            case "overwrite":
                piece = draw(noise)
                result[place : place + len(piece)] = piece
            case "insert":
                result[place:place] = draw(noise)
            case "remove":
                del result[place : place + length]
            case "double":
                result[place:place] = result[place : place + length * 10]
            case "cut":
                del result[place:]
            case _:
                if place < len(result):
                    result[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(result)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\x00", "../../x", "auto", "🙂", "\u202e", "a" * 5_000]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated_json(draw: st.DrawFn, value: Any) -> Any:
    """Change some values, keys and items of a tree of JSON, at any depth."""
    for _ in range(draw(st.integers(1, 3))):
        value = _mutate(draw, value, depth=draw(st.integers(0, 4)))
    return value


def _mutate(draw: st.DrawFn, value: Any, depth: int) -> Any:
    if isinstance(value, dict) and value and depth:
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["into", "into", "into", "remove", "add", "rename"])):
            case "into":
                return value | {key: _mutate(draw, value[key], depth - 1)}
            case "remove":
                return {name: item for name, item in value.items() if name != key}
            case "add":
                return value | {draw(st.text(max_size=8)): draw(VALUES)}
            case _:
                return {(draw(st.text(max_size=8)) if name == key else name): item for name, item in value.items()}
    if isinstance(value, list) and value and depth:
        place = draw(st.integers(0, len(value) - 1))
        match draw(st.sampled_from(["into", "into", "remove", "double"])):
            case "into":
                return [*value[:place], _mutate(draw, value[place], depth - 1), *value[place + 1 :]]
            case "remove":
                return [*value[:place], *value[place + 1 :]]
            case _:
                return [*value[: place + 1], *value[place:]]
    return draw(VALUES)
