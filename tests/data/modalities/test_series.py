"""Series: any pace, gaps, times of their own, and symbols."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor, read_cells
from metamodal.data.modalities import Series
from metamodal.data.modalities.protocol import CellError
from metamodal.errors import DataError

BASE = Path(__file__).parent


def read(*cells) -> list:
    return [Series.read(cell, BASE) for cell in cells]


def test_a_constant_speed_change_of_a_series_resamples_to_the_same_course():
    t = np.linspace(0, 1, 200)[:, None]
    slow, fast = (Series.read(np.sin(6 * steps), BASE) for steps in (t, t[::2]))
    series = Series.fit([slow, fast], length=50)
    a, b = series.tensor([slow, fast])[:, 0]
    assert (a - b).abs().max() < 0.05


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[1.0, 2.0], [3.0]], "one length"),
        ([[1.0], [float("nan")]], "step 1, channel 0 is nan"),
        ([[1.0], [float("inf")], [None]], "step 1, channel 0 is inf"),
        ([None, None], "every value of the series is empty"),
        ([[1.0], ["b"]], "no series"),
        ({"time": [0.0, 1.0], "values": [1.0]}, "2 times for 1 steps"),
        ({"time": [0.0, float("nan")], "values": [1.0, 2.0]}, "step 1, channel 0 is nan"),
        ({"time": [0.0, None], "values": [1.0, 2.0]}, "time 1 is empty"),
        ({"values": [1.0]}, "a record is no series"),
        ([], "is no series"),
    ],
)
def test_a_bad_series_says_what_is_wrong(cell, message: str):
    with pytest.raises(CellError, match=message):
        Series.read(cell, BASE)


def test_a_series_of_other_channels_is_refused():
    series = Series.fit([Series.read(np.zeros((4, 3)), BASE)])
    with pytest.raises(CellError, match="2 channels where the others have 3"):
        series.tensor([Series.read(np.zeros((4, 2)), BASE)])


def test_times_place_the_steps_where_they_were():
    even = np.linspace(0, 1, 60)
    odd = np.sort(np.random.default_rng(0).uniform(0, 1, 200))
    odd[0], odd[-1] = 0, 1
    values = read(*({"time": t.tolist(), "values": np.sin(7 * t)[:, None].tolist()} for t in (even, odd)))
    series = Series.fit(values, length=40)
    assert series.timed
    a, b = series.tensor(values)[:, 0]
    assert (a - b).abs().max() < 0.05
    assert torch.equal(*series.tensor(values)[:, -1])  # both last one second


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_in_which_timed_steps_are_listed_does_not_matter(order: list[int]):
    t = np.linspace(3, 9, 12) ** 2
    cells = [{"t": t[i].tolist(), "values": np.cos(t)[i].tolist()} for i in (np.arange(12), np.array(order))]
    one, two = read(*cells)
    series = Series.fit([one], length=20)
    assert torch.equal(series.tensor([one]), series.tensor([two]))


def test_interpolation_over_gaps_is_that_of_numpy_and_their_share_is_a_channel():
    steps = np.random.default_rng(1).normal(size=(30, 2))
    cell = steps.tolist()
    for i in (3, 4, 10, 29):
        cell[i][1] = None
    cell[20] = None
    (value,) = read(cell)
    series = Series.fit([value], length=30)
    assert series.gaps
    assert series.shape == (4, 30)
    x = series.tensor([value])[0]
    kept = [i for i in range(30) if i not in (3, 4, 10, 20, 29)]
    expected = np.interp(np.arange(30), kept, steps[kept, 1])
    expected = ((expected - series.centre[1]) / series.scale[1]).clip(-4, 4)
    np.testing.assert_allclose(x[1], expected, atol=1e-5)
    share = np.ones(30)
    share[[3, 4, 10, 29]], share[20] = 0.5, 0
    np.testing.assert_allclose(x[2], share, atol=1e-6)


def test_without_gaps_in_training_there_is_no_such_channel_and_a_later_gap_is_filled():
    whole, gappy = read([[1.0], [2.0], [3.0]] * 3, [[1.0], [None], [3.0]] * 3)
    series = Series.fit([whole])
    assert series.shape == (2, 9)
    torch.testing.assert_close(series.tensor([gappy]), series.tensor([whole]), atol=1.0, rtol=0)
    assert series.tensor([gappy])[0, 0, 1] == series.tensor([whole])[0, 0, 1]


@pytest.mark.parametrize("nested", [True, False])
def test_a_null_in_a_file_is_a_gap_and_a_nan_is_an_error(tmp_path: Path, nested: bool):
    def cells(odd):
        return [[[float(i), odd] if j == 1 else [float(i), 2.0] for j in range(4)] for i in range(3)]

    def column(odd):
        return cells(odd) if nested else [[v for _, v in cell] for cell in cells(odd)]

    for odd in (None, float("nan")):
        pq.write_table(pa.table({"x": column(odd)}), tmp_path / "x.parquet")
        data = read_table(tmp_path / "x.parquet", kinds={"x": "series"})
        if odd is None:
            assert all(np.isnan(v).sum() == 1 for v in read_cells(data).values["x"])
        else:
            with pytest.raises(DataError, match=r"x.parquet row 1, column x: step 1, channel \d is nan"):
                read_cells(data)


def test_masked_values_are_gaps():
    steps = np.ma.masked_invalid(np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0]]))
    assert np.isnan(Series.read(steps, BASE)).tolist() == [[False, False], [True, False], [False, False]]


def test_symbols_are_channels_and_rare_ones_share_the_last():
    values = read(list("ACGT") * 2 + list("ACGT"), ["A", "A", "zz"], ["T"])
    series = Series.fit(values, length=12)
    assert series.symbols == ("A", "T", "C", "G", "zz")
    x = series.tensor([*values, *read(["unseen"])])
    assert x.shape == (4, 5 + 1 + 1, 12)
    assert torch.equal(x[:, :-1].sum(1), torch.ones(4, 12))
    assert x[3, 5].all()
    assert x[0, :5].sum(1).tolist() == [3.0, 3.0, 3.0, 3.0, 0.0]


def test_no_more_than_64_symbols_have_a_channel_of_their_own():
    values = read([f"s{i}" for i in range(100)], ["s99", "s98"])
    series = Series.fit(values)
    assert len(series.symbols) == 64
    assert series.symbols[:2] == ("s98", "s99")


def test_symbols_among_numbers_are_refused():
    numbers, symbols = read([1.0, 2.0], ["a", "b"])
    with pytest.raises(CellError, match="steps are symbols where the others have numbers"):
        Series.fit([numbers]).tensor([symbols])
    with pytest.raises(CellError, match="steps are numbers where the others have symbols"):
        Series.fit([symbols]).tensor([numbers])


@pytest.mark.parametrize("cell", [list("abcab"), [[1.0], [None], [2.0]]])
def test_every_form_of_series_has_distinct_variants_and_keeps_its_marks(cell):
    series = Series.fit(read(cell, cell[:2]))
    x = series.tensor(read(cell))
    seen = [series.variant(x, v) for v in range(series.variants)]
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
    varied = series.augment(x, torch.Generator().manual_seed(0))
    assert varied.shape == x.shape
    if series.gaps:
        assert varied[:, 1].min() >= 0
        assert varied[:, 1].max() <= 1


def test_a_table_of_syllables_and_irregular_times_is_read():
    frame = pd.DataFrame(
        {
            "said": [["da", "di"], ["du"], ["da", "du", "di"]] * 2,
            "pulse": [{"time": [0.0, 0.4, 2.0], "values": [[1.0], [2.0], [i]]} for i in range(6)],
        }
    )
    data = read_table(frame)
    assert {c.name: c.kind for c in data.schema.columns} == {"said": "series", "pulse": "series"}
    cells = read_cells(data)
    assert Preprocessor.fit(cells).encode(cells).inputs["pulse"].shape[0] == 6
