"""Numbers and dates in a notation of their own are read by what the whole column says."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import read_cells
from metamodal.data.modalities.protocol import CellError
from metamodal.data.schema.conventions import Convention, convention_of
from metamodal.data.schema.targets import Targets
from metamodal.errors import DataError

NUMBERS = [
    (["45,16", "3,2"], [45.16, 3.2], "decimal comma"),
    (["1.045,16", "3,20"], [1045.16, 3.2], "decimal comma and thousands separated by points"),
    (["1,045.16", "12.5"], [1045.16, 12.5], "thousands separated by commas"),
    (["1,234", "950"], [1234, 950], "thousands separated by commas"),
    (["12,34,567", "1,000"], [1234567, 1000], "thousands separated by commas"),
    (["1 234,56", "3,10"], [1234.56, 3.1], "decimal comma and thousands separated by blanks"),
    (["1'234.50", "9.10"], [1234.5, 9.1], "thousands separated by apostrophes"),
    (["12%", "3.5 %"], [12, 3.5], "the unit %"),
    (["45.16 €", "3.20 €"], [45.16, 3.2], "the unit €"),
    (["$1,234", "-$2,950"], [1234, -2950], "thousands separated by commas and the unit $"),
    (["12 kg", "3.5 kg"], [12, 3.5], "the unit kg"),
    (["(3.20)", "4.10"], [-3.2, 4.1], "parentheses"),
    (["3.20-", "4.10"], [-3.2, 4.1], "signs"),
    (["<0.5", "0.7"], [0.5, 0.7], "bounds"),
    (["0,123", "1,234"], [0.123, 1.234], "decimal comma"),
]
DATES = [
    (["16.09.2026", "01.02.2026"], ["2026-09-16", "2026-02-01"], "day/month/year"),
    (["01.02.2026", "02.03.2026"], ["2026-02-01", "2026-03-02"], "day/month/year"),
    (["9/16/26", "1/2/26"], ["2026-09-16", "2026-01-02"], "month/day/year"),
    (["31/05/2024", "1/2/2024"], ["2024-05-31", "2024-02-01"], "day/month/year"),
    (["2024/05/31", "2024/1/2"], ["2024-05-31", "2024-01-02"], "year/month/day"),
    (["31 May 2024", "June 1, 2024"], ["2024-05-31", "2024-06-01"], "named months"),
    (["5/31/2024 1:30 PM", "1/2/2024 12:05 AM"], ["2024-05-31T13:30:00", "2024-01-02T00:05:00"], "month/day"),
]


@pytest.mark.parametrize(("cells", "meant", "evidence"), NUMBERS + DATES)
def test_the_whole_column_says_how_its_cells_are_written(cells: list[str], meant: list, evidence: str):
    found = convention_of(Counter(cells))
    assert found is not None and found.warning is None and evidence in str(found.convention)
    assert [found.convention.parse(c) for c in cells] == meant


@pytest.mark.parametrize(
    "cells",
    [
        ["AB12", "AB13"],
        ["007", "012"],
        ["192.168.1.1", "10.0.0.1"],
        ["1-2", "2-3"],
        ["5th", "3rd"],
        ["a,5", "b"],
    ],
)
def test_ids_and_words_with_digits_are_no_numbers(cells: list[str]):
    assert convention_of(Counter(cells)) is None


@given(st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)), min_size=1))
def test_what_python_formats_is_read_again(numbers: list[float]):
    for cells, convention in (
        ([f"{x:,.2f}" for x in numbers], Convention(group=",")),
        ([f"{x:.2f}".replace(".", ",") for x in numbers], Convention(",")),
        ([f"{x:,.2f} €".translate(str.maketrans(",.", ".,")) for x in numbers], Convention(",", ".", "€")),
    ):
        assert [convention.parse(c) for c in cells] == numbers
        found = convention_of(Counter(cells))
        assert found is not None and [found.convention.parse(c) for c in cells] == numbers


@given(
    st.lists(
        st.dates(min_value=pd.Timestamp("1970-01-01").date(), max_value=pd.Timestamp("2068-12-31").date())
    )
)
def test_a_date_in_any_order_is_read_again(dates: list):
    for order, form in (("dmy", "%d/%m/%Y"), ("mdy", "%m/%d/%y"), ("ymd", "%Y.%m.%d"), ("named", "%d-%b-%Y")):
        assert [Convention(order=order).parse(d.strftime(form)) for d in dates] == [
            d.isoformat() for d in dates
        ]


def test_what_could_mean_two_things_is_warned_of_by_column_and_remedy():
    y = ["a", "b"] * 30
    doubtful = {
        "x": [f"{i},{i + 100}" for i in range(1, 61)],
        "d": [f"0{i % 9 + 1}/0{i % 7 + 1}/2024" for i in range(60)],
    }
    warnings = read_table(pd.DataFrame({**doubtful, "y": y}), target="y").schema.warnings
    assert any("column 'x': in numbers such as '1,101'" in w and "pass --decimal ," in w for w in warnings)
    assert any("column 'd': its dates fit day/month/year and month/day/year" in w for w in warnings)


def _table(rows: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    x, when = (
        rng.normal(2000, 900, rows).round(2),
        pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
    )
    y = np.where(x > 2000, "hi", "lo")
    plain = pd.DataFrame({"x": x, "when": when.strftime("%Y-%m-%d"), "y": y})
    written = plain.assign(
        x=[f"{v:,.2f} €".translate(str.maketrans(",.", ".,")) for v in x], when=when.strftime("%d.%m.%Y")
    )
    return plain, written


def test_a_table_in_a_convention_gives_the_tensors_of_the_plain_one():
    fitted, cells = [], []
    for frame in _table():
        data = read_table(frame, target="y")
        cells.append(read_cells(data))
        fitted.append(Preprocessor.fit(cells[-1]))
    plain, written = fitted
    np.testing.assert_array_equal(
        plain.fitted["tabular"].tensor(cells[0].values["tabular"]),
        written.fitted["tabular"].tensor(cells[1].values["tabular"]),
    )


def test_later_rows_are_read_as_the_training_rows_were():
    _, frame = _table()
    data = read_table(frame, target="y")
    modality = Preprocessor.fit(read_cells(data)).fitted["tabular"]
    known, same = modality.tensor(
        [{"x": "1.045,16 €", "when": "01.02.2025"}, {"x": 1045.16, "when": "2025-02-01"}]
    )
    assert known.tolist() == same.tolist()
    with pytest.raises(
        CellError, match="x is '1,045.16' where the training rows have numbers with decimal comma"
    ):
        modality.tensor([{"x": "1,045.16", "when": None}])
    with pytest.raises(CellError, match="x is 'n/a' .* Pass --na n/a if the cell is empty"):
        modality.tensor([{"x": "n/a", "when": None}])


def test_a_target_in_a_convention_is_numbers():
    plain, written = (frame.drop(columns="y") for frame in _table())
    values = [
        Targets(kind="regression", names=("x",)).raw(read_table(f, target="x")) for f in (plain, written)
    ]
    np.testing.assert_array_equal(*values)
    column = next(c for c in read_table(written, target="x").schema.columns if c.role == "target")
    assert "numbers" in column.evidence and "decimal comma" in column.evidence


def test_rows_are_split_by_times_in_a_convention():
    plain, written = _table()
    parts = [read_table(f, target="y", time="when").split() for f in (plain, written)]
    assert parts[0].train.tolist() == parts[1].train.tolist()


@pytest.mark.parametrize("word", ["NA", "n/a", "#N/A", "-", "NULL"])
@pytest.mark.parametrize("every", [2, 7])
def test_words_for_nothing_among_numbers_name_column_and_remedy(word: str, every: int):
    cells = [word if i % every == 0 else f"{i}.5" for i in range(60)]
    frame = pd.DataFrame({"price": cells, "y": ["a", "b"] * 30})
    remedy = f"--na{'=' if word == '-' else ' '}{shlex.quote(word)} if the cells are empty"
    with pytest.raises(DataError, match=f"row 1, column price: .*{remedy}"):
        read_table(frame, target="y")
    schema = read_table(frame, target="y", na=word).schema
    assert schema.columns[0].evidence == "numbers written as text"


def test_one_odd_cell_among_numbers_in_a_convention_is_named_by_its_row():
    frame = pd.DataFrame({"price": [f"{i},5" for i in range(20)] + ["cheap"], "y": list("ab" * 10 + "a")})
    with pytest.raises(DataError, match="row 21, column price: .*'cheap'.*--kind price=text"):
        read_table(frame, target="y")


def test_a_convention_is_no_id_and_no_category():
    data = read_table(_table()[1], target="y")
    assert {c.name: (c.role, c.kind) for c in data.schema.columns if c.name != "y"} == {
        "x": ("modality", "tabular"),
        "when": ("modality", "tabular"),
    }


def test_a_saved_predictor_reads_cells_as_its_training_rows_were_written(cli, tmp_path: Path):
    plain, written = _table()
    for name, frame in (("plain", plain), ("written", written)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        frame.tail(3).drop(columns="y").to_csv(tmp_path / f"{name}_rows.csv", index=False)
        assert (
            cli("adapt", "none", tmp_path / f"{name}.csv", "--target", "y", "--out", tmp_path / name).code
            == 0
        )
    expected, *answers = (
        cli("predict", tmp_path / model, tmp_path / f"{rows}_rows.csv").out
        for model, rows in (("plain", "plain"), ("written", "written"))
    )
    assert expected.count("\n") == 4 and answers == [expected]


@pytest.mark.parametrize("command", ["schema", "adapt", "evaluate"])
def test_each_command_warns_of_columns_that_mean_two_things_or_are_not_read(
    cli, tmp_path: Path, command: str
):
    frame = pd.DataFrame(
        {
            "x": [f"{i},{i + 100}" for i in range(1, 61)],
            "photo": [f"{i}.heic" for i in range(60)],
            "n": [7 * i % 60 for i in range(60)],
            "y": ["a", "b"] * 30,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    model = [] if command == "schema" else ["none"]
    more = {
        "adapt": ["--out", tmp_path / "p"],
        "evaluate": ["--episodes", 5, "--way", 2, "--split-by", "row"],
    }
    done = cli(command, *model, tmp_path / "t.csv", "--target", "y", *more.get(command, []))
    said = [line for line in done.err.splitlines() if line.startswith("warning: column")]
    assert done.code == 0 and [line.split("'")[1] for line in said] == ["x", "photo"]
