"""The page of chat formats says what the code does."""

from docs.formats import BLOCK, PAGE, row, table
from langchain_amulet.chat_formats.registry import SHIPPED


def test_the_table_of_families_is_the_one_that_the_code_makes() -> None:
    (found,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert found == table()


def test_every_family_of_the_package_has_a_row() -> None:
    assert [row(family)[0] for family in SHIPPED] == [f"`{family.name}`" for family in SHIPPED]
