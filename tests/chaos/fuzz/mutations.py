"""Hypothesis strategies for damaged files: valid bytes and JSON values with a few changes."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# `make chaos` draws many more examples, and different ones in each run. `make test` always draws the same ones.
THOROUGH = bool(os.environ.get("XLM_CHAOS"))
SLOW_IF_THOROUGH = [pytest.mark.slow] if THOROUGH else []

PARQUET_TOKENS = (b"PAR1", b"PARE", b"\x15", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00" * 8)


def examples(quick: int, thorough: int) -> settings:
    """Set the number of examples of `make test` and of `make chaos`."""
    return settings(
        max_examples=thorough if THOROUGH else quick,
        derandomize=not THOROUGH,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def mutated_bytes(draw: st.DrawFn, data: bytes, *, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Make one to four changes to valid bytes: overwrite, insert, remove, repeat, truncate, or flip a bit.

    Args:
        draw: passed by Hypothesis.
        data: valid bytes.
        tokens: bytes to insert in addition to random ones, such as keywords of the format.
    """
    result = bytearray(data)
    noise = st.one_of(st.binary(max_size=8), *([st.sampled_from(tokens)] if tokens else []))
    for _ in range(draw(st.integers(1, 4))):
        # Hypothesis often draws the ends of a range, where most formats keep their headers.
        position = draw(st.integers(0, len(result)))
        length = draw(st.integers(0, 12))
        match draw(st.sampled_from(["overwrite", "insert", "remove", "repeat", "truncate", "flip"])):
            case "overwrite":
                new = draw(noise)
                result[position : position + len(new)] = new
            case "insert":
                result[position:position] = draw(noise)
            case "remove":
                del result[position : position + length]
            case "repeat":
                result[position:position] = result[position : position + length * 10]
            case "truncate":
                del result[position:]
            case _:
                if position < len(result):
                    result[position] ^= 1 << draw(st.integers(0, 7))
    return bytes(result)


JSON_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\x00", "../../x", "auto", "🙂", "\u202e", "a" * 5_000]),
)
JSON_VALUES = st.recursive(
    JSON_SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated_json(draw: st.DrawFn, value: Any) -> Any:
    """Change one to three values, keys or items of a JSON value, at any depth."""
    for _ in range(draw(st.integers(1, 3))):
        value = _mutate(draw, value, depth=draw(st.integers(0, 4)))
    return value


def _mutate(draw: st.DrawFn, value: Any, depth: int) -> Any:
    if isinstance(value, dict) and value and depth:
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["descend", "descend", "descend", "remove", "add", "rename"])):
            case "descend":
                return value | {key: _mutate(draw, value[key], depth - 1)}
            case "remove":
                return {name: item for name, item in value.items() if name != key}
            case "add":
                return value | {draw(st.text(max_size=8)): draw(JSON_VALUES)}
            case _:
                return {(draw(st.text(max_size=8)) if name == key else name): item for name, item in value.items()}
    if isinstance(value, list) and value and depth:
        index = draw(st.integers(0, len(value) - 1))
        match draw(st.sampled_from(["descend", "descend", "remove", "repeat"])):
            case "descend":
                return [*value[:index], _mutate(draw, value[index], depth - 1), *value[index + 1 :]]
            case "remove":
                return [*value[:index], *value[index + 1 :]]
            case _:
                return [*value[: index + 1], *value[index:]]
    return draw(JSON_VALUES)
