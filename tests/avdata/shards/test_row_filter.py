"""Conditions on manifest rows: against Python on rows without gaps, NULLs by hand, all messages."""

import pyarrow as pa
import pytest

from avdata.errors import ConfigError
from avdata.manifest import MANIFEST_SCHEMA
from avdata.shards.row_filter import FilterCount, RowFilter

ROWS = [
    {"n": n, "share": share, "key": key, "labels": labels, "silent": silent}
    for n, share, key, labels, silent in (
        (1, 0.1, "a-1", ["dog"], False),
        (2, 0.95, "a-2", ["cat", "dog"], True),
        (3, 0.5, "b-1", ["cow"], False),
        (4, 0.9, "b-2", ["cat"], True),
        (5, 0.0, "c", ["dog", "cow", "cat"], False),
    )
]
TABLE = pa.Table.from_pylist(ROWS)

GAPS = pa.table(
    {
        "share": pa.array([0.1, None, 0.95]),
        "flag": pa.array([None, True, False]),
        "labels": pa.array([["dog"], [], ["cat"]]),
        "split": pa.array(["train", None, "test"]),
    }
)


def kept(text: str, table: pa.Table = TABLE) -> list[int]:
    mask = RowFilter(text, table.schema).mask(table)
    assert len(mask) == table.num_rows
    return [i for i, on in enumerate(mask) if on]


@pytest.mark.parametrize(
    "text",
    [
        "share < 0.9",
        "share <= 0.9 and n != 3",
        "0.1 < share < 0.95",
        "1 < n <= 4 and n < 4",
        "n == 2 or n == 5",
        "not silent",
        "silent == True",
        "silent != True",
        "not (silent or n > 3)",
        "n in (1, 2.0, -7)",
        "n not in [1, 2]",
        "key in {'a-1', 'c'}",
        "'dog' in labels",
        "'dog' not in labels",
        "'-1' in key",
        "len(labels) > 1",
        "len(key) == 1",
        "key.startswith('a')",
        "key.endswith('2') and not key.startswith('a')",
        "n / 2 == 1.5",
        "n * 2 - 1 >= 2 + share",
        "-n < -3",
        "abs(share - 0.5) <= 0.41",
        "(n + 1) / (n - 1 + 1e-9) > 2",
        "+n > 2",
        "'a-1' <= key < 'b'",
        "True",
        "1 > 2",
        "share < n",
    ],
)
def test_conditions_mean_what_they_mean_in_python(text: str) -> None:
    expected = [i for i, row in enumerate(ROWS) if eval(text, {"len": len, "abs": abs}, row)]
    assert kept(text) == expected


def test_label_is_the_first_of_the_labels() -> None:
    assert kept("label == 'dog'") == [0, 4]
    assert kept("label in ('cat', 'cow')") == [1, 2, 3]
    assert kept("label is None", GAPS) == [1]
    assert kept("label != 'dog'", GAPS) == [2]
    sliced = TABLE.slice(2)
    assert RowFilter("label == 'dog'", TABLE.schema).mask(sliced).tolist() == [False, False, True]
    assert RowFilter("'cat' in labels", TABLE.schema).mask(sliced).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("share < 0.9", [0]),
        ("share != 0.1", [2]),
        ("not share < 0.9", [1, 2]),
        ("not (share >= 0)", [1]),
        ("share is None", [1]),
        ("share is not None", [0, 2]),
        ("share + 1 > 0", [0, 2]),
        ("share in (0.1, 0.95)", [0, 2]),
        ("share not in (0.1,)", [2]),
        ("flag", [1]),
        ("not flag", [0, 2]),
        ("flag == False", [2]),
        ("flag is None or share > 0.9", [0, 2]),
        ("split not in ('test',)", [0]),
        ("split.startswith('t')", [0, 2]),
        ("'dog' not in labels", [1, 2]),
        ("len(labels) == 0", [1]),
    ],
)
def test_a_missing_value_makes_a_comparison_false(text: str, rows: list[int]) -> None:
    assert kept(text, GAPS) == rows


def test_an_empty_table_has_no_rows_to_keep() -> None:
    assert kept("share < 1 and label == 'dog'", GAPS.slice(0, 0)) == []
    assert kept("share < 1", pa.Table.from_batches([], schema=GAPS.schema)) == []


def test_counts_tell_what_each_part_keeps() -> None:
    condition = RowFilter("share < 0.9 and label == 'cat' and (n > 0 and n < 9)", TABLE.schema)
    assert condition.counts(TABLE) == [
        FilterCount(text="share < 0.9", num_kept=3),
        FilterCount(text="label == 'cat'", num_kept=2),
        FilterCount(text="n > 0 and n < 9", num_kept=5),
    ]
    assert condition.columns == ("labels", "n", "share")


def test_every_column_of_the_manifest_can_be_named() -> None:
    for field in MANIFEST_SCHEMA:
        RowFilter(f"{field.name} is not None", MANIFEST_SCHEMA)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("is no condition", "write it as in")),
        ("n <", ("is no condition",)),
        ("(" * 5000 + "n", ("is no condition",)),
        ("shore < 1", ("names no column: shore", "did you mean share?", "label, labels, n")),
        ("n", ("'n', which is a number, where a condition must stand",)),
        ("n and silent", ("'n', which is a number",)),
        ("n < 'a'", ("compares 'n', a number, with \"'a'\", a text", "two numbers")),
        ("key == 3", ("compares 'key', a text, with '3', a number",)),
        ("labels == 'dog'", ("'labels', a list of text",)),
        ("silent < True", ("compares flags by `<`",)),
        ("n == None", ("the value None", "write `is None`")),
        ("n is 3", ("`is` goes with None alone",)),
        ("label in labels", ("must be a literal",)),
        ("n in ('a', 'b')", ("all of those must be literals of that kind",)),
        ("n in (1, share)", ("must be literals",)),
        ("3 in labels", ("looks for '3', a number, in 'labels'", "'dog' in labels")),
        ("'a' in n", ("in 'n', a number",)),
        ("key + 'a' == 'b'", ("computes with 'key', which is a text, no number",)),
        ("len(n) > 1", ("asks for the length of 'n', a number",)),
        ("n.startswith('a')", ("asks 'n', a number, for startswith()",)),
        ("key.upper() == 'A'", ("calls 'key.upper()'", "COLUMN.startswith('...')")),
        ("__import__('os').system('true')", ("calls", "allowed are abs(NUMBER)")),
        ("[x for x in labels]", ("which a condition may not have", "allowed are columns")),
        ("n ** 2 > 3", ("which a condition may not have",)),
        ("key[0] == 'a'", ("which a condition may not have",)),
        ("b'a' == key", ("the value b'a'",)),
        ("x" * 400, ("xxx...'", "names no column")),
    ],
)
def test_what_is_no_condition_says_why(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        RowFilter(text, TABLE.schema)
    assert str(error.value).startswith("--where ")
    for part in parts:
        assert part in str(error.value)


def test_columns_of_other_types_are_refused() -> None:
    table = pa.table({"blob": pa.array([b"a"])})
    with pytest.raises(ConfigError, match="names column blob, whose type binary has no tests"):
        RowFilter("blob is None", table.schema)


def test_columns_that_are_no_words_of_python() -> None:
    table = pa.table({"class": ["a", "b", None], "clip id": ["x", "", "y"], "n": [1, 2, 3]})
    assert kept("class == 'a'", table) == [0]
    assert kept("n > 1 and class is not None", table) == [1]
    assert kept("`clip id` != '' and class in ('a', 'b')", table) == [0]
    assert kept("`class`.startswith('b')", table) == [1]
    assert kept("class == 'class'", table) == []  # not inside a text
    with pytest.raises(ConfigError, match="compares 'class', a text, with '2', a number"):
        RowFilter("class < 2", table.schema)
    with pytest.raises(ConfigError, match="names no column: clip ids; did you mean clip id"):
        RowFilter("`clip ids` == ''", table.schema)
    with pytest.raises(ConfigError, match="is no condition"):
        RowFilter("class == 'a'", TABLE.schema)
