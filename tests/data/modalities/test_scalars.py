"""Rows of scalars: numbers with limits, dates, categories, and what is missing."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metamodal.data.dataset import Dataset, read_table
from metamodal.data.features.encode import Preprocessor, read_cells
from metamodal.data.modalities import Tabular
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.scalars import date_of
from metamodal.errors import DataError

BASE = Path(__file__).parent
INF = float("inf")


def test_an_absent_number_an_unseen_and_an_absent_category_are_zeros():
    tabular = Tabular.fit([{"n": 1.0, "c": "a"}, {"n": 3.0, "c": "b"}])
    assert tabular.tensor([{"n": None, "c": "z"}, {}]).abs().sum() == 0


def test_a_nan_is_refused():
    for value in (float("nan"), np.float32("nan")):
        with pytest.raises(CellError, match="x is nan. Give a finite number, or leave the cell empty"):
            Tabular.read({"x": value}, BASE)
    with pytest.raises(DataError, match="row 3, column x: x is nan. Give a finite number"):
        read_cells(read_table(pd.DataFrame({"x": ["1", "2", "nan"]})))


def test_digits_among_words_stay_as_they_are_written():
    tabular = Tabular.fit([Tabular.read({"id": v}, BASE) for v in ("007", "7", "024e7871", "x", "nan")])
    assert set(tabular.categories[0][1]) == {"007", "7", "024e7871", "x", "nan"}


def lab(*cells) -> Dataset:
    return read_table(
        pd.DataFrame({"crp": [*cells, *range(10)], "sex": ["f", "m"] * ((len(cells) + 10) // 2)})
    )


@pytest.mark.parametrize("value", [INF, -INF, "inf"])
def test_a_lone_infinity_is_an_error_with_its_place(value):
    cells = [str(i) for i in range(11)] if isinstance(value, str) else list(range(11))
    data = read_table(pd.DataFrame({"crp": [value, *cells]}))
    with pytest.raises(DataError, match=r"row 1, column crp: crp is -?inf. Give a finite number"):
        read_cells(data)


def test_several_infinities_are_the_ends_of_the_scale_with_a_warning():
    data = lab(-INF, INF, -INF, 2.0)
    assert data.schema.limits == {"crp"}
    assert "2 values are -inf and 1 are +inf" in data.schema.warnings[0]
    cells = read_cells(data)
    x = Preprocessor.fit(cells).encode(cells).inputs["tabular"]
    assert x[:3, 0].tolist() == [-4, 4, -4]
    assert x[:3, 1].tolist() == [1, 1, 1]


def test_the_limits_of_a_column_are_remembered_for_one_cell_of_a_later_table():
    first = Preprocessor.fit(read_cells(lab(-INF, INF, -INF, 2.0)))
    again = Preprocessor.from_dict(json.loads(json.dumps(first.to_dict())))
    later = lab(INF, 3.0)
    assert again.encode(again.read(later)).inputs["tabular"][0, 0] == 4
    with pytest.raises(DataError, match="row 1, column crp: crp is inf"):
        read_cells(later)


def test_limits_hold_where_the_training_rows_happen_to_have_none():
    cells = read_cells(lab(-INF, INF, -INF, 2.0))
    fitted = Preprocessor.fit(cells.rows(np.arange(4, 14)))
    assert fitted.encode(cells).inputs["tabular"][1, 0] == 4


def test_the_real_column_with_limits_reads(shared):
    data = read_table(shared / "chest_xray.parquet", target="icu")
    assert data.schema.limits == {"d_dimer"}
    cells = read_cells(data)
    assert Preprocessor.fit(cells).encode(cells).inputs["tabular"].isfinite().all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31", datetime(2024, 5, 31)),
        ("2024-05-31T12:30", datetime(2024, 5, 31, 12, 30)),
        ("2024-05-31 12:30:15.25Z", datetime.fromisoformat("2024-05-31T12:30:15.250000+00:00")),
        ("2024-05-31T12:30:15-0330", datetime.fromisoformat("2024-05-31T12:30:15-03:30")),
        ("2024-02-31", None),
        ("31.05.2024", None),
        ("2024", None),
    ],
)
def test_iso_dates_are_told_from_other_strings(text: str, expected: datetime | None):
    assert date_of(text) == expected


def test_dates_are_days_and_the_cycles_that_vary():
    days = [f"2024-{month:02}-15" for month in (1, 4, 7, 10)]
    tabular = Tabular.fit([{"when": d} for d in days])
    ((name, centre, scale, cycles),) = tabular.dates
    assert (name, cycles) == ("when", ("year", "week"))
    x = tabular.tensor([{"when": d} for d in days]).numpy()
    since = np.array([(date.fromisoformat(d) - date(1970, 1, 1)).days for d in days])
    np.testing.assert_allclose(x[:, 0], (since - centre) / scale, atol=1e-5)
    yday = np.array([15, 106, 197, 289]) - 1
    np.testing.assert_allclose(x[:, 2], np.sin(2 * np.pi * yday / 365.25), atol=1e-5)
    np.testing.assert_allclose(
        x[:, 5], [np.cos(2 * np.pi * date.fromisoformat(d).weekday() / 7) for d in days], atol=1e-5
    )
    assert tabular.tensor([{"when": None}]).abs().sum() == 0


def test_dates_come_as_objects_as_well_and_a_column_of_them_is_tabular():
    stamps = pd.to_datetime(["2024-01-01 08:00", "2024-06-01 20:00", None, "2025-01-01 12:00"])
    frame = pd.DataFrame({"stamp": stamps, "day": [s.date() if s is not pd.NaT else None for s in stamps]})
    data = read_table(frame)
    assert {c.name: c.kind for c in data.schema.columns} == {"stamp": "tabular", "day": "tabular"}
    fitted = Preprocessor.fit(read_cells(data)).fitted["tabular"]
    assert [record[0] for record in fitted.dates] == ["stamp", "day"]
    assert fitted.dates[0][3] == ("year", "week", "day")


def test_a_column_of_distinct_dates_is_used_and_one_odd_string_in_it_is_named():
    days = [str(d.date()) for d in pd.date_range("2024-01-01", periods=60)]
    frame = pd.DataFrame({"day": days, "label": ["a", "b"] * 30})
    assert read_table(frame, target="label").schema.modalities == {"day": ("tabular", ("day",))}
    frame.loc[5, "day"] = "last Tuesday"
    with pytest.raises(DataError, match=r"row 6, column day: .*59 dates and 1 words.*'last Tuesday'"):
        read_table(frame, target="label", use=["day"])


def test_a_word_where_dates_are_learned_is_an_error():
    tabular = Tabular.fit([{"when": "2024-01-01"}, {"when": "2024-03-01"}])
    with pytest.raises(
        CellError, match="when is 'soon' where the training rows have dates. Give one like 2024-05-31"
    ):
        tabular.tensor([{"when": "soon"}])


def test_an_id_with_an_underscore_is_no_number():
    assert Tabular.read({"id": "1_60"}, BASE) == {"id": "1_60"}
