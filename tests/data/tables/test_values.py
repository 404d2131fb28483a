"""Values and names of a table: one meaning has one name, and labels come back as they were given."""

from __future__ import annotations

import json
import math
import warnings
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metamodal import DataError, MetaLearner, OptionError, load, read_table
from metamodal.app.cli import main
from metamodal.artifact import save_artifact
from metamodal.data.audit import audit
from metamodal.data.features.reading import read_cells
from metamodal.data.identity import name_of
from metamodal.data.roles import Roles
from metamodal.data.schema.doubts import counts_along
from metamodal.data.schema.label_type import LabelType
from metamodal.data.schema.target_kinds import whole_numbers
from metamodal.data.tables.table import frame_of_cells
from metamodal.data.tables.unreadable import Unreadable, checked
from metamodal.data.tasks.axis import SMOOTH, roughness
from metamodal.errors import MetamodalError, MetamodalWarning

X = np.repeat([0.0, 5.0, 9.0], 4)


def series(values, dtype=None):
    return pd.Series([values[i // 4] for i in range(12)], dtype=dtype or object)


def category(values, categories, *, ordered=False):
    cells = [values[i // 4] for i in range(12)]
    return pd.Series(pd.Categorical(cells, categories=categories, ordered=ordered))


LABELS = {
    "int64": series([0, 1, 2], "int64"),
    "int8": series([0, 1, 2], "int8"),
    "float64": series([0.0, 1.5, 2.0], "float64"),
    "digits as strings": series(["0", "1", "2"]),
    "strings that spell booleans": series(["True", "FALSE", "perhaps"]),
    "padded strings": series(["007", "1.0", "2.50"]),
    "bool": series([False, True, True], "bool"),
    "Int64": series([0, 1, 2], "Int64"),
    "boolean": series([False, True, True], "boolean"),
    "string": series(["a", "b", "1.0"], "string"),
    "int64[pyarrow]": series([0, 1, 2], "int64[pyarrow]"),
    "bool[pyarrow]": series([False, True, True], "bool[pyarrow]"),
    "date": series([date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]),
    "datetime": series([datetime(2024, 1, 1, 5), datetime(2024, 1, 2), datetime(2024, 1, 3)]),
    "datetime64": pd.Series(pd.to_datetime(np.repeat(["2024-01-01", "2024-01-02", "2024-03-03"], 4))),
    "ordered category": category(["lo", "mid", "hi"], ["lo", "mid", "hi", "never seen"], ordered=True),
    "category of ints": category([3, 1, 2], [3, 2, 1]),
    "category of booleans": category([False, True, True], [True, False]),
    "intervals": pd.Series(pd.cut(X, [-1, 3, 6, 10])),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_come_back_in_their_dtype_also_from_a_saved_predictor(name, tmp_path):
    y = LABELS[name]
    frame = pd.DataFrame({"x": X, "y": y})
    support = read_table(frame, target="y", target_kind="classification")
    predictor = MetaLearner().adapt(support)
    save_artifact(predictor, tmp_path / "p")
    for asked in (predictor, load(tmp_path / "p")):
        found = asked.predict(frame[["x"]])
        given = y.array if isinstance(y.dtype, pd.CategoricalDtype) else y
        assert (found == given).all()
        if y.dtype != object and str(y.dtype) != "str":
            assert found.dtype == y.dtype
            assert asked.predict_proba(frame).columns.dtype == y.dtype
        assert {type(label) for label in np.asarray(found)} == {type(label) for label in np.asarray(y)}


def test_a_category_keeps_categories_that_no_row_has_and_their_order():
    y = LABELS["ordered category"]
    found = (
        MetaLearner(data__target="y").adapt(pd.DataFrame({"x": X, "y": y})).predict(pd.DataFrame({"x": X}))
    )
    assert found.categories.tolist() == ["lo", "mid", "hi", "never seen"] and found.ordered


@pytest.mark.parametrize("name", ["bool", "int64", "Int64", "ordered category", "float64"])
def test_parquet_keeps_the_dtype_of_labels(name, tmp_path):
    y = LABELS[name]
    pd.DataFrame({"x": X, "y": y}).to_parquet(tmp_path / "t.parquet")
    support = read_table(tmp_path / "t.parquet", target="y", target_kind="classification")
    found = MetaLearner().adapt(support).predict(support)
    assert found.dtype == y.dtype and (pd.Series(found).to_numpy() == y.to_numpy()).all()


def test_a_support_with_other_labels_than_training_gives_its_own_dtype():
    model = MetaLearner(data__target="y")
    words = model.adapt(pd.DataFrame({"x": X, "y": LABELS["string"]}))
    numbers = model.adapt(pd.DataFrame({"x": X, "y": LABELS["int64"]}))
    assert words.predict(pd.DataFrame({"x": X})).dtype == "string"
    assert numbers.predict(pd.DataFrame({"x": X})).dtype == "int64"


@pytest.mark.parametrize(
    "alike",
    [
        (1, "1", 1.0, "1.0", np.int8(1), np.float32(1)),
        (True, "true", "True", "TRUE", np.True_),
        (0, -0.0, "-0", "0.0"),
        (0.5, "0.5"),
        (pd.Timestamp(1), np.datetime64(1, "ns"), "1970-01-01 00:00:00.000000001", str(pd.Timestamp(1))),
        (pd.Timestamp(1, tz="UTC"), "1970-01-01T02:00:00.000000001+02:00"),
        (timedelta(days=1), np.timedelta64(24, "h"), pd.Timedelta("1 days")),
        (date(2024, 5, 31), "2024-05-31", "2024-05-31T00:00:00.000", pd.Timestamp("2024-05-31")),
    ],
)
def test_one_meaning_has_one_name(alike):
    assert len({name_of(value) for value in alike}) == 1


def test_different_words_keep_different_names():
    values = [
        pd.Timestamp(0),
        pd.Timestamp(1),
        pd.Timestamp(2),
        "01",
        "1",
        "1.10",
        "1.1",
        "yes",
        "Yes",
        "1_0",
        "10",
        "true",
        "truely",
        10**20,
        1e300,
    ]
    assert len({name_of(value) for value in values}) == len(values)


@given(
    st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(), st.dates(), st.datetimes())
)
def test_a_name_is_its_own_name(value):
    assert name_of(name_of(value)) == name_of(value)


@given(st.lists(st.one_of(st.integers(-(2**62), 2**62)), min_size=1), st.sampled_from(["int64", "Int64"]))
def test_whole_numbers_come_back_from_their_names(values, dtype):
    column = pd.Series(values, dtype=dtype)
    kind = LabelType.from_dict(json.loads(json.dumps(LabelType.of(values, column.dtype).to_dict())))
    assert (kind.labels([name_of(v) for v in values]) == column).all()


def test_the_command_line_writes_numbers_and_booleans_as_such(tmp_path, capfd):
    for name, values in (("numbers", [3, 5, 7]), ("flags", [False, True, True])):
        frame = pd.DataFrame({"x": X, "y": series(values)})
        frame.to_csv(tmp_path / "t.csv", index=False)
        assert (
            main(["adapt", "none", f"{tmp_path}/t.csv", "--target", "y", "--out", f"{tmp_path}/{name}"]) == 0
        )
        capfd.readouterr()
        assert main(["predict", f"{tmp_path}/{name}", f"{tmp_path}/t.csv", "--json", "--out", "-"]) == 0
        rows = json.loads(capfd.readouterr().out)["rows"]
        assert [row["label"] for row in rows] == frame.y.tolist()


# --- one value for one meaning in every reader


def flags(n=80):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"flag": rng.random(n) < 0.5, "z": rng.normal(size=n)})
    return frame.assign(y=np.where(frame.flag ^ (rng.random(n) < 0.1), "yes", "no"))


def written_flags(folder):
    """The same table in six spellings."""
    frame = flags()
    frame.to_parquet(folder / "t.parquet")
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_json(folder / "t.jsonl", orient="records", lines=True, date_format="iso")
    excel = frame.flag.map({True: "TRUE", False: "FALSE"})
    frame.assign(flag=excel).to_csv(folder / "excel.csv", index=False)
    frame.astype({"flag": int}).to_csv(folder / "digits.csv", index=False)
    return [folder / f for f in ("t.parquet", "t.csv", "t.jsonl", "excel.csv", "digits.csv")] + [frame]


def test_a_boolean_gives_the_same_answers_from_every_file_and_into_every_file(tmp_path):
    tables = written_flags(tmp_path)
    answers = []
    for support in tables:
        predictor = MetaLearner().adapt(read_table(support, target="y"))
        answers += [predictor.predict_proba(read_table(query, target="y")).to_numpy() for query in tables]
    for other in answers[1:]:
        np.testing.assert_array_equal(answers[0], other)


def in_every_format(folder, frame):
    """The same table in memory and in files."""
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_parquet(folder / "t.parquet")
    frame.to_feather(folder / "t.feather")
    frame.to_json(folder / "t.json", orient="records", date_format="iso")
    frame.to_json(folder / "t.jsonl", orient="records", lines=True, date_format="iso")
    return [frame] + [folder / f"t.{ending}" for ending in ("csv", "parquet", "feather", "json", "jsonl")]


def test_an_empty_string_is_an_empty_cell_in_every_format_and_every_column(tmp_path):
    frame = pd.DataFrame(
        {
            "category": ["p", "", "q", " "] * 6,
            "text": [f"three words {i}" if i % 3 else "" for i in range(24)],
            "number": ["1.5", "", "2.5", "3"] * 6,
            "y": ["a", "b", "", "c"] * 6,
        }
    )
    meant = frame.replace({"": None, " ": None})
    for source in in_every_format(tmp_path, frame):
        table = read_table(source, target="y")
        for column in frame:
            absent = [cell is None for cell in table.frame[column]]
            assert absent == meant[column].isna().tolist(), (source, column)
        assert set(table.labels().tolist()) == {"a", "b", "c", None}
    table = pd.DataFrame({"r": [{"a": 1.0, "b": ""}, {"a": 2.0, "b": "x"}], "y": ["a", "b"]})
    assert [record["b"] for record in read_cells(read_table(table, target="y")).values["r"]] == [None, "x"]


@pytest.mark.parametrize("number", [Decimal, Fraction, np.float16, np.float64, np.longdouble])
def test_a_number_of_any_type_is_a_number(number, tmp_path):
    values = [number(x) for x in ("0.5", "1.25", "3.5", "2")] * 3
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object), "y": ["a", "b", "c"] * 4})
    same = frame.assign(x=[float(v) for v in values])
    assert read_table(frame, target="y").schema.modalities == {"x": ("tabular", ("x",))}
    assert read_table(frame, target="x", use=["y"]).schema.target_kind == "regression"
    one, other = (MetaLearner(data__target="y").adapt(table) for table in (frame, same))
    assert one.predict_proba(same.x.to_frame()).equals(other.predict_proba(frame.x.to_frame()))
    assert len(one.predict([{"x": values[0]}, {"x": values[1]}])) == 2
    lists = pd.DataFrame({"v": [values[:4]] * 4, "y": ["a", "b"] * 2})
    assert read_table(lists, target="y").schema.modalities == {"v": ("embedding", ("v",))}


def test_a_decimal_column_of_parquet_is_read_as_the_numbers_of_the_csv(tmp_path):
    cents = [Decimal(i * 7) / 100 for i in range(24)]
    flat = pa.table({"x": pa.array(cents, pa.decimal128(10, 2)), "y": ["a", "b"] * 12})
    lists = pa.table({"x": pa.array([cents[:3]] * 24, pa.list_(pa.decimal128(10, 2))), "y": ["a", "b"] * 12})
    pq.write_table(flat, tmp_path / "t.parquet")
    pq.write_table(lists, tmp_path / "lists.parquet")
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{c},{'ab'[i % 2]}\n" for i, c in enumerate(cents)))
    for target in ("x", "y"):
        one, other = (read_table(tmp_path / f"t.{e}", target=target) for e in ("parquet", "csv"))
        assert one.schema.target_kind == other.schema.target_kind
        assert one.schema.modalities == other.schema.modalities
    assert read_table(tmp_path / "lists.parquet", target="y").schema.modalities["x"][0] == "embedding"


def test_decimals_of_more_digits_than_a_float_has_are_classes_of_their_own():
    near = [Decimal("12345678901234567890.1"), Decimal("12345678901234567890.2")] * 6
    table = read_table(pd.DataFrame({"x": X, "y": near}), target="y", target_kind="classification")
    assert len(set(table.labels())) == 2
    assert read_table(pd.DataFrame({"x": near, "y": X}), target="y").schema.modalities["x"][0] == "tabular"


@pytest.mark.parametrize("huge", [Decimal("1e1000000"), Fraction(10**400), Decimal("-1e309")])
def test_a_number_beyond_all_floats_is_infinite_or_refused(huge):
    cell = checked(huge)
    assert isinstance(cell, Unreadable) or (math.isinf(cell) and (cell < 0) == (huge < 0))


def test_the_same_instants_give_the_same_rows_whatever_their_offset(tmp_path):
    hours = np.random.default_rng(0).integers(0, 7000, 24)
    utc = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(hours, unit="h")
    frame = pd.DataFrame({"when": utc, "y": ["a", "b"] * 12})
    zones = ("America/New_York", "Asia/Kathmandu", "UTC")
    tables = [frame.assign(when=utc.tz_convert(zone)) for zone in zones]
    tables.append(frame.assign(when=[t.isoformat() for t in tables[0].when]))
    tables.append(frame.assign(when=[t.isoformat().replace("+00:00", "Z") for t in utc]))
    predictor = MetaLearner(data__target="y").adapt(tables[0])
    expected = predictor.predict_proba(tables[0])
    for i, table in enumerate(tables[1:]):
        table.to_parquet(tmp_path / f"{i}.parquet")
        table.to_csv(tmp_path / f"{i}.csv", index=False)
        for source in (table, tmp_path / f"{i}.parquet", tmp_path / f"{i}.csv"):
            assert predictor.predict_proba(read_table(source, target="y")).equals(expected)
        times = read_table(table, target="y", time="when").keys().times
        assert times.tolist() == [t.timestamp() for t in utc]


def test_labels_less_than_a_microsecond_apart_are_two_classes(tmp_path):
    near = pd.to_datetime(["2024-01-01T00:00:00"] * 3) + pd.to_timedelta([0, 1, 1002], unit="ns")
    frame = pd.DataFrame({"x": X, "y": np.repeat(near, 4)})
    for source in in_every_format(tmp_path, frame)[:4]:
        assert len(set(read_table(source, target="y").labels())) == 3, source
    found = MetaLearner(data__target="y").adapt(frame).predict(frame[["x"]])
    assert found.tolist() == frame.y.to_numpy().tolist()
    for text in ("2024-01-01T00:00:00.000000001", "2024-01-01 00:00:00.000001002Z"):
        assert name_of(name_of(text)) == name_of(text) == name_of(pd.Timestamp(text))
    assert name_of("2024-01-01T00:00:00.500000000") == name_of("2024-01-01T00:00:00.5")


@pytest.mark.parametrize(
    "days",
    [
        pa.array([0, 8_000_000, 5, 7], pa.date32()),
        pa.array([0, 10**13, 5, 7], pa.timestamp("s")),
        pa.array([0, -(10**11), 5, 7], pa.timestamp("s", "UTC")),
        pa.array([0, 10**13, 5, 7], pa.timestamp("s")).dictionary_encode(),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_date_outside_the_calendar_is_a_cell_that_cannot_be_read(days, ending, tmp_path):
    table = pa.table({"when": days, "y": ["a", "b", "a", "b"]})
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    with pytest.raises(DataError, match=r"row 2, column when: .*outside the years 1 to 9999"):
        read_cells(read_table(path, target="y"))
    absent = read_cells(read_table(path, target="y"), unreadable="absent").values["when"]
    assert [value is None for value in absent] == [False, True, False, False]
    (fault,) = audit(path, target="y").faults
    assert (fault.problem.row, fault.problem.column) == (2, "when")


def test_a_far_date_of_a_frame_is_refused_too():
    far = pd.Series(np.array(["2024-01-01", "20000-01-01"] * 2, dtype="datetime64[s]"))
    cells = [
        far[1],
        np.datetime64("20000-01-01"),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        [far[1]],
    ]
    assert all(isinstance(checked(cell), Unreadable) for cell in cells)
    assert checked(far[0]) == pd.Timestamp("2024-01-01")


def test_a_column_of_true_and_false_is_refused_among_other_numbers():
    predictor = MetaLearner(data__target="y").adapt(pd.DataFrame({"x": X, "y": LABELS["int64"]}))
    with pytest.raises(DataError, match=r"x is 'true' where the training rows have numbers"):
        predictor.predict(pd.DataFrame({"x": ["true", "false"]}))


def test_a_query_column_of_unknown_values_is_warned_of(tmp_path, capfd):
    frame = pd.DataFrame({"colour": ["red", "blue", "green"] * 4, "x": X, "y": ["a", "b", "c"] * 4})
    predictor = MetaLearner(data__target="y").adapt(frame)
    with pytest.warns(
        MetamodalWarning, match="column colour: in 12 rows that were read together no value is known"
    ):
        predictor.predict(frame.assign(colour="rouge"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor.predict(frame.assign(colour=["red", "rouge", None] * 4))
    save_artifact(predictor, tmp_path / "p")
    frame.assign(colour="rouge").to_csv(tmp_path / "q.csv", index=False)
    assert main(["predict", f"{tmp_path}/p", f"{tmp_path}/q.csv", "--out", f"{tmp_path}/o.csv"]) == 0
    assert capfd.readouterr().err.count("warning: q.csv, column colour: in 12 rows") == 1


def test_lists_as_python_prints_them_are_warned_of_by_name(tmp_path, capfd):
    rng = np.random.default_rng(0)
    vectors, tags = [rng.normal(size=4) for _ in range(24)], [["sea", "sun"], ["sun"], ["it's"]] * 8
    pd.DataFrame({"v": vectors, "tags": tags}).to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv", target="tags")
    assert len(table.schema.warnings) == 2
    for name, warning in zip(("v", "tags"), table.schema.warnings):
        assert (
            warning.startswith(f"column '{name}'")
            and "lists as Python prints them" in warning
            and "JSON" in warning
        )
    assert main(["adapt", "none", f"{tmp_path}/t.csv", "--target", "tags", "--out", f"{tmp_path}/p"]) == 0
    assert capfd.readouterr().err.count("lists as Python prints them") == 2


def test_brackets_in_a_text_are_no_lists():
    texts = [f"[Music] and (well, sort of) applause {i}" for i in range(8)] + ["[Music]"] * 4
    assert not read_table(pd.DataFrame({"t": texts, "y": ["a", "b"] * 6}), target="y").schema.warnings


def test_an_empty_list_is_no_class():
    table = read_table(
        pd.DataFrame({"x": X, "y": ["a", "b", []] * 4}), target="y", target_kind="classification"
    )
    assert table.labels().tolist() == ["a", "b", None] * 4


# --- frames in memory


def test_a_doubled_column_of_a_frame_is_refused():
    one = pd.DataFrame({"x": X, "y": LABELS["int64"]})
    double = pd.concat([one, one[["x"]]], axis=1)
    with pytest.raises(DataError, match="DataFrame: two columns are named 'x'. Rename one."):
        read_table(double, target="y")
    with pytest.raises(DataError, match="two columns are named 'x'"):
        MetaLearner(data__target="y").adapt(one).predict(double)


def test_columns_that_have_one_name_as_text_are_refused_by_both_names():
    frame = pd.DataFrame({1: X, "1": X, "y": LABELS["int64"]})
    with pytest.raises(DataError, match="two columns are named 1 and '1', both '1' as text"):
        read_table(frame, target="y")


def test_columns_are_named_as_the_frame_names_them():
    frame = pd.DataFrame({0: X, 1: X + 1, 2: LABELS["int64"]})
    table = read_table(frame, target=2, use=[0], kinds={0: "tabular"})
    assert table.schema.targets == ("2",) and table.schema.modalities == {"0": ("tabular", ("0",))}
    assert MetaLearner(data__target=2).adapt(frame).predict(frame).dtype == "int64"
    levels = frame.set_axis(pd.MultiIndex.from_tuples([("m", "x"), ("m", 1), ("t", 2)]), axis=1)
    assert read_table(levels, target=("t", 2)).schema.targets == ("('t', 2)",)


@pytest.mark.parametrize("no_table", [pd.Series([1, 2]), np.zeros((3, 2)), 3])
def test_what_is_no_table_is_refused(no_table):
    with pytest.raises(DataError, match="is no table. Give a"):
        read_table(no_table)


# --- the number of a row is no modality


def test_a_saved_index_is_left_out_with_a_warning(tmp_path):
    frame = pd.DataFrame({"a": X + 0.5, "y": list("abcd") * 3}, index=[*range(5), *range(6, 13)])
    frame.to_csv(tmp_path / "t.csv")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.rename_axis("case").to_parquet(tmp_path / "named.parquet")
    pd.read_csv(tmp_path / "t.csv").to_csv(tmp_path / "again.csv", index=False)
    for file, column in (
        ("t.csv", ""),
        ("t.parquet", "__index_level_0__"),
        ("named.parquet", "case"),
        ("again.csv", "Unnamed: 0"),
    ):
        schema = read_table(tmp_path / file, target="y").schema
        assert list(schema.modalities) == ["a"]
        (warning,) = schema.warnings
        assert warning.startswith(f"column {column!r}: it is the row's number") and "--use" in warning
    named = read_table(tmp_path / "named.parquet", target="y", use=["a", "case"])
    assert {c for _, columns in named.schema.modalities.values() for c in columns} == {"a", "case"}
    assert read_table(tmp_path / "named.parquet", target="y", group="case").schema.role("group") == "case"


def test_a_nameless_column_of_measurements_stays(tmp_path):
    pd.DataFrame({"": X + 0.5, "y": list("abcd") * 3}).to_csv(tmp_path / "t.csv", index=False)
    assert list(read_table(tmp_path / "t.csv", target="y").schema.modalities) == [""]


def test_counting_along_the_rows():
    assert counts_along(list(range(9))) and counts_along([*map(str, range(5)), "7", "8", "9", "10", "11"])
    for cells in (
        [3, 1, 2],
        [1, 2],
        [1, 1, 2, 3],
        [0.5, 1.5, 2.5],
        ["a", "b", "c"],
        [True, False, True],
    ):
        assert not counts_along(cells)


# --- whole numbers as a target


def test_whole_numbers_are_judged_by_their_spread():
    rng = np.random.default_rng(0)
    datasets = pytest.importorskip("sklearn.datasets")
    numbers = {
        "diabetes": datasets.load_diabetes().target,
        "ages": np.clip(rng.normal(45, 15, 3000), 18, 95).astype(int),
        "rents": rng.gamma(1.2, 150, 5000).astype(int),
        "prices": rng.gamma(4, 60_000, 500).astype(int),
    }
    classes = {
        "digits": datasets.load_digits().target,
        "faces": np.repeat(np.arange(40), 10),
        "codes": np.repeat(np.arange(900), 20),
        "uneven codes": rng.integers(0, 100, 4000),
        "sparse ids": np.repeat(rng.permutation(10**6)[:900], 20),
        "ratings": rng.integers(1, 11, 300),
    }
    for kind, tables in (("regression", numbers), ("classification", classes)):
        for name, values in tables.items():
            assert whole_numbers([float(v) for v in values]).kind == kind, name
    assert all(whole_numbers([float(v) for v in values]).warning is None for values in classes.values())


def test_a_close_decision_about_whole_numbers_is_warned_of_and_can_be_overruled():
    years = [float(year) for year in range(1980, 2020) for _ in range(3)]
    told = whole_numbers(years)
    assert told.kind == "classification" and "--target-kind regression" in str(told.warning)
    frame = pd.DataFrame({"x": np.arange(120) * 0.5, "y": years})
    assert read_table(frame, target="y", target_kind="regression").schema.target_kind == "regression"
    assert "--target-kind" in read_table(frame, target="y").schema.warnings[0]


def test_padded_digits_are_names():
    frame = pd.DataFrame({"x": np.arange(30.0), "y": [f"{7 * i:04}" for i in range(30)]})
    assert read_table(frame, target="y").schema.target_kind == "classification"


# --- names of ours and of users


@pytest.mark.parametrize("role", ["modality", "target", "unused"])
def test_a_column_named_tabular_and_the_joint_modality_have_two_names(role):
    frame = pd.DataFrame({"a": X, "b": X[::-1], "tabular": [f"some words in row {i}" for i in range(12)]})
    frame = frame.assign(y=["k", "l"] * 6) if role != "target" else frame.assign(tabular=["k", "l"] * 6)
    use = ["a", "b"] if role == "unused" else None
    table = read_table(frame, target="tabular" if role == "target" else "y", use=use)
    expected = {"tabular_": ("tabular", ("a", "b"))}
    if role == "modality":
        expected["tabular"] = ("text", ("tabular",))
    assert table.schema.modalities == expected
    assert set(MetaLearner().adapt(table).model.modalities) == set(expected)


def test_every_column_name_can_be_said_on_the_command_line(tmp_path, capfd):
    (tmp_path / "t.csv").write_text('"size, cm", y ,a=b,size\n1,cat,5,3\n2,cat,6,2\n8,dog,7,1\n9,dog,8,0\n')

    def columns(*options):
        assert main(["schema", f"{tmp_path}/t.csv", "--json", *options]) == 0
        return {c["name"]: c for c in json.loads(capfd.readouterr().out)["columns"]}

    assert columns("--target", " y ")[" y "]["role"] == "target"
    assert columns("--kind", "a=b=tabular")["a=b"]["evidence"] == "kind given by the caller"
    for said in ("size, cm", '"size, cm"', 'a=b, "size, cm"', "size, cm,a=b"):
        used = {name for name, c in columns("--use", said).items() if c["role"] == "modality"}
        assert used == {"size, cm"} | ({"a=b"} if "a=b" in said else set())


def test_a_name_that_is_not_there_names_the_way_out(tmp_path, capfd):
    (tmp_path / "t.csv").write_text('"size, cm",y\n1,cat\n2,dog\n')
    assert main(["schema", f"{tmp_path}/t.csv", "--use", "sizes, cm"]) == 2
    assert "--schema FILE" in capfd.readouterr().err


def test_a_list_of_names_stays_a_list():
    roles = Roles(target=("a", "b"), use=("c", "d")).among(["a", "b", "a,b", "c", "d", "c,d"])
    assert roles.target == ("a", "b") and roles.use == ("c", "d")


def test_sixteen_thousand_columns_cost_no_more_each_than_four_thousand():
    """Look-ups are counted, not seconds: no name is compared with every other."""
    compared = 0

    class Name(str):
        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    from metamodal.data.roles import check_roles
    from metamodal.data.schema.inference import Column, Schema

    names = [Name(f"gene{i}") for i in range(4000)]
    check_roles(Roles(use=tuple(names), kinds=dict.fromkeys(names, "tabular")), names, "t")
    modalities = Schema(tuple(Column(name, "modality", "tabular", "numbers") for name in names)).modalities
    assert len(modalities["tabular"][1]) == 4000 and compared < 100_000


# --- cells that nothing can be made of


def nested(depth, inner=()):
    found = list(inner)
    for _ in range(depth):
        found = [found]
    return found


def zero_dimensional(value):
    array = np.empty((), dtype=object)
    array[()] = value
    return array


HOSTILE = st.sampled_from(
    [
        "half an emoji \ud83d",
        ["a", "\ud83d"],
        {"a": "\ud83d"},
        {"bytes": 3},
        {"path": ["a"]},
        {"bytes": None, "path": None},
        nested(1000),
        nested(40),
        {"edges": nested(1000)},
        "[" * 3000,
        "[" * 3000 + "]" * 3000,
        zero_dimensional("a"),
        zero_dimensional(nested(1000)),
        np.array(3),
        10**400,
        [10**400],
        {"a": 10**400},
        1.7e308,
        -1.7e308,
        float("inf"),
        1j,
        object(),
        {"edges": 3},
        {"values": [1], "time": ["x"]},
        {"array": 3, "sampling_rate": "x"},
        {1: 2},
        [],
        {},
        b"",
        "['a', 'b']",
        "two\nlines",
    ]
)
USUAL = st.one_of(st.none(), st.floats(width=64), st.integers(), st.booleans(), st.text(max_size=5))
COLUMN = st.lists(st.one_of(HOSTILE, USUAL, st.lists(USUAL, max_size=3)), min_size=6, max_size=6)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    COLUMN,
    COLUMN,
    st.sampled_from(["classification", "multilabel", "regression", "auto"]),
    st.sampled_from("xyz"),
)
def test_whatever_cells_are_there_is_an_answer_or_an_error_of_ours(cells, targets, kind, odd):
    y = targets if odd != "x" else ["a", "b"] * 3 if kind in ("classification", "auto") else [1, 0] * 3
    x = cells if odd != "y" else [1.0, 2.0, 3.5] * 2
    frame = pd.DataFrame(
        {"x\n": pd.Series(x, dtype=object), "y": pd.Series(y, dtype=object), "z": np.arange(6.0)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attempt in (_adapted, _audited):
            try:
                attempt(frame, kind)
            except MetamodalError as error:
                assert "\n" not in str(error)


def _adapted(frame, kind):
    table = read_table(frame, target="y", target_kind=kind)
    assert not any("\n" in warning for warning in table.schema.warnings)
    predictor = MetaLearner().adapt(table)
    answers = predictor.predict(table) if predictor.kind == "regression" else predictor.predict_proba(table)
    assert np.isfinite(np.asarray(answers, dtype=float)).all()


def _audited(frame, kind):
    found = audit(frame, target="y", target_kind=kind)
    assert not any("\n" in str(fault.problem) for fault in found.faults)


def test_half_a_character_is_found_by_audit_and_named_by_row(tmp_path, capfd):
    half = ["", "", "", "\ud83d", "", ""]
    rows = [json.dumps({"t": f"hello there {h} number {i}", "y": f"k{i % 2}"}) for i, h in enumerate(half)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    told = ["none", f"{tmp_path}/t.jsonl", "--target", "y", "--kind", "t=text"]
    assert main(["adapt", *told, "--out", f"{tmp_path}/p"]) == 3
    assert "t.jsonl row 4, column t: the cell holds half a character" in capfd.readouterr().err
    assert main(["audit", *told[1:]]) == 3
    capfd.readouterr()
    labels = [json.dumps({"t": f"number {i}", "y": f"k{i % 2} \ud83d"}) for i in range(6)]
    (tmp_path / "l.jsonl").write_text("\n".join(labels))
    assert main(["adapt", "none", f"{tmp_path}/l.jsonl", "--target", "y", "--out", f"{tmp_path}/q"]) == 3
    assert "row 1, column y: the cell holds half a character" in capfd.readouterr().err


def test_a_column_of_nothing_but_unreadable_cells_is_no_empty_column():
    frame = pd.DataFrame({"t": pd.Series(["half \ud83d"] * 12, dtype=object), "y": LABELS["int64"]})
    for kinds in ({"t": "text"}, {}):
        with pytest.raises(DataError, match="row 1, column t: .* half a character"):
            MetaLearner().adapt(read_table(frame, target="y", kinds=kinds))
        assert len(audit(frame, target="y", kinds=kinds).faults) == 12


def test_a_column_whose_name_is_half_a_character_is_refused():
    with pytest.raises(DataError, match=r"'\\ud83d': its name holds half a character .* Rename it."):
        frame_of_cells({"\ud83d": [1, 2]})


def test_good_cells_pass_unchanged():
    for cell in ("Kätzchen 🐈", 3, 1.5, True, None, b"x", [1, 2], {"a": 1}, np.zeros(3), [[1.0], [2.0]]):
        assert checked(cell) is cell
    assert isinstance(checked("\udc00"), Unreadable)


def test_columns_of_the_largest_numbers_give_finite_probabilities():
    x = [1.7e308, -1.7e308, 1.6e308, -1.6e308] * 3
    frame = pd.DataFrame({"x": x, "y": ["a", "b"] * 6})
    answers = MetaLearner(data__target="y").adapt(frame).predict_proba(frame).to_numpy()
    assert np.isfinite(answers).all()


def test_a_target_beyond_range_is_named():
    frame = pd.DataFrame({"x": X, "y": [1.5] * 11 + [10**200]})
    with pytest.raises(DataError, match="row 12, column y: .* is no finite number within"):
        MetaLearner(data__target="y", data__target_kind="regression").adapt(frame)


# --- series or embedding


def test_lists_of_one_length_are_a_series_where_neighbours_are_alike():
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 64)
    waves = [np.sin(2 * np.pi * (rng.uniform(1, 4) * t + rng.random())) for _ in range(40)]
    noise, walk = rng.normal(size=(40, 64)), rng.normal(size=(40, 64)).cumsum(1)
    latent = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 64))
    series = {"waves": waves, "noisy waves": [w + 0.4 * e for w, e in zip(waves, noise)], "walk": walk}
    embeddings = {
        "noise": noise,
        "latent": latent,
        "relu": np.maximum(latent, 0),
        "with a level": noise + 3 * rng.normal(size=(40, 1)),
        "of many scales": noise * 10.0 ** rng.integers(-3, 4, 64),
        "one hot": np.eye(64)[rng.integers(0, 64, 40)],
        "short": rng.normal(size=(40, 4)).cumsum(1),
        "constant": np.ones((40, 16)),
    }
    for kind, columns in (("series", series), ("embedding", embeddings)):
        for name, lists in columns.items():
            frame = pd.DataFrame({"v": list(lists), "y": ["a", "b"] * 20})
            (column,) = [c for c in read_table(frame, target="y", use=["v"]).schema.columns if c.name == "v"]
            assert column.kind == kind, name
            assert "series" in column.evidence and "embedding" in column.evidence
            assert (roughness(list(lists)) < SMOOTH) == (kind == "series")


def test_an_unknown_option_still_names_what_is_there():
    with pytest.raises(OptionError, match="no such column. Known: x, y"):
        read_table(pd.DataFrame({"x": X, "y": LABELS["int64"]}), target="label")
