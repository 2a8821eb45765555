"""Single values are checked as what they are, and not as what they can be taken for."""

from langchain_amulet.validation.checks import is_finite


def test_whole_numbers_beyond_floats_are_no_numbers_to_calculate_with() -> None:
    assert [is_finite(number) for number in (2**1000, 10**400, -(10**5000))] == [True, False, False]
