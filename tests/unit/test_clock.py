from __future__ import annotations

import pytest

from plimsoll import clock


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000.0), ("12h", 43_200.0), (" 1.5 H ", 5400.0), ("2w", 1_209_600.0), ("0s", 0.0), ("3m", 180.0)]
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert clock.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "1y", "1d2h", "nan d"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        clock.seconds_of(text)
