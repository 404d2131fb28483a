"""From read cells to tensors: what each modality learned of the training cells, applied to any rows."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.features.encoders import Encoders, Tuned
from metamodal.data.features.reading import Cells, column_of, read_cells
from metamodal.data.modalities import Modality, modalities
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.modalities.protocol import Categorical, CellError, Fitted
from metamodal.data.tables.forms import VECTORS
from metamodal.data.tables.problems import short
from metamodal.errors import DataError
from metamodal.options import typed
from metamodal.types import Batch, Space

__all__ = ["Preprocessor", "fit_options", "fitted_from"]

_NAMED = 5  # columns that a warning names
_CHUNK = 1024  # rows that features are computed of at a time


@dataclass(frozen=True)
class Preprocessor:
    """The fitted modalities of a model, in order, with the columns each is read from."""

    fitted: dict[str, Fitted]
    wanted: dict[str, tuple[str, tuple[str, ...]]]
    encoders: Encoders = field(default_factory=Encoders)

    @classmethod
    def fit(
        cls,
        cells: Cells,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        encoders: Encoders | None = None,
    ) -> Preprocessor:
        """Each modality fitted to the cells that are present; one that never is, is left out.

        Args:
            options: of each kind's `fit`.
            encoders: those that the cells were read with.
        """
        wanted = cells.dataset.schema.modalities
        encoders = encoders or Encoders()
        settings = fit_options(cells.dataset, options)
        fitted: dict[str, Fitted] = {}
        for name, values in cells.values.items():
            present = [v for v in values if v is not None]
            if present and name in encoders.tuned:
                fitted[name] = Tuned.of(encoders.tuned[name], present)
            elif present:
                kind = cells.kinds[name]
                try:
                    fitted[name] = modalities[kind].fit(present, **settings.get(kind, {}))
                except CellError as error:
                    column = column_of(error, wanted[name][1])
                    raise DataError(f"{cells.dataset.name}, column {column}: {error}.") from None
        if not fitted:
            raise DataError(
                f"{cells.dataset.name}: every modality is empty in the rows to learn from. Name others with --use."
            )
        return cls(fitted, {name: wanted[name] for name in fitted}, encoders)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.fitted)

    @property
    def spaces(self) -> dict[str, tuple[str, Space]]:
        """Kind and space of each modality's tensor: `embedding` behind a frozen encoder."""
        return {
            name: (
                VECTORS if name in self.encoders.frozen else kind,
                Space(name, self.fitted[name].shape),
            )
            for name, (kind, _) in self.wanted.items()
        }

    def only(self, names: Iterable[str]) -> Preprocessor:
        """The same of some of the modalities: the others' cells are not opened."""
        keep = set(names)
        return replace(
            self,
            fitted={m: fitted for m, fitted in self.fitted.items() if m in keep},
            wanted={m: said for m, said in self.wanted.items() if m in keep},
        )

    def read(
        self, dataset: Dataset, unreadable: str = "error", faults: dict[int, str] | None = None
    ) -> Cells:
        """The cells of this model's modalities in any table that has some of their columns.

        Args:
            faults: receives, by row, what cannot be read in it.
        """
        limits = frozenset(c for m in self.fitted.values() for c in getattr(m, "limits", ()))
        return read_cells(
            dataset, self.wanted, unreadable, encoders=self.encoders, limits=limits, faults=faults
        )

    def lacking(self, dataset: Dataset, besides: Iterable[str] = ()) -> Iterator[str]:
        """A warning of the columns that were read in training and that a table lacks, with the nearest it has.

        Args:
            besides: columns that none of them can have been renamed to, such as the model's targets.
        """
        there = dict.fromkeys(map(str, dataset.frame.columns))
        wanted = {column for _, columns in self.wanted.values() for column in columns}
        taken = (
            wanted
            | set(besides)
            | {c.name for c in dataset.schema.columns if c.role not in ("modality", "ignored")}
        )
        others = [name for name in there if name not in taken]
        gone = sorted(wanted - set(there))
        if gone:
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            named = ", ".join(f"{column!r}{_nearest(column, others)}" for column in gone[:_NAMED])
            yield (
                f"{dataset.name}: lacks columns that the model knows: {named}{more}. They count as absent in every "
                "row. Rename or add them"
            )

    def unknown(self, cells: Cells) -> Iterator[str]:
        """A warning for each column of categories of which the rows have cells and none that training knew."""
        for name, modality in self.fitted.items():
            if isinstance(modality, Categorical):
                there = [value for value in cells.values.get(name, []) if value is not None]
                for column, value in modality.unknown(there).items():
                    yield (
                        f"{cells.dataset.name}, column {column}: in {len(there)} rows that were read together no value "
                        f"is known from training ({short(value)}, for one); they are read as absent. Write them as the "
                        "training rows do"
                    )

    def encode(self, cells: Cells) -> Batch:
        """All rows as tensors, zeros where a cell is absent; `targets` is `(n, 0)`.

        Raises:
            DataError: a cell does not fit the training cells and `cells` are not lenient.
        """
        inputs, present = {}, {}
        n = len(cells.dataset)
        for name, modality in self.fitted.items():
            values = cells.values.get(name, [None] * n)
            x = torch.zeros(n, *modality.shape)
            if any(v is not None for v in values):
                try:
                    found = modality.tensor([v for v in values if v is not None])
                except CellError:
                    values = cells.fitting(name, self.wanted[name][1], modality.tensor)
                    left = [v for v in values if v is not None]
                    found = modality.tensor(left) if left else x[:0]
            there = torch.tensor([v is not None for v in values], dtype=torch.bool)
            if there.any():
                x[there] = found
            inputs[name], present[name] = x, there
        return Batch(inputs, present, torch.zeros(n, 0))

    def features(self, batch: Batch) -> Batch:
        """The same rows as generic features, zeros where a cell is absent."""
        return self._mapped(
            batch, lambda modality, x: torch.cat([modality.features(part) for part in x.split(_CHUNK)])
        )

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The same rows as they might have come out another time."""
        return self._mapped(batch, lambda modality, x: modality.augment(x, generator))

    @property
    def variants(self) -> int:
        """How many versions of a class its symmetries give, the class itself included."""
        return max(modality.variants for modality in self.fitted.values())

    def variant(self, batch: Batch, number: int) -> Batch:
        """The rows under symmetry `number`; a modality without it stays as it is."""
        if number == 0:
            return batch
        return self._mapped(batch, lambda m, x: m.variant(x, number) if number < m.variants else x)

    def _mapped(self, batch: Batch, change: Callable[[Fitted, Tensor], Tensor]) -> Batch:
        inputs = {}
        for name, x in batch.inputs.items():
            there = batch.present[name].view(-1, *[1] * (x.dim() - 1))
            y = change(self.fitted[name], x)
            inputs[name] = torch.where(there.view(-1, *[1] * (y.dim() - 1)), y, torch.zeros_like(y))
        return batch._replace(inputs=inputs)

    def to_dict(self) -> dict[str, Any]:
        """Everything fitted, as JSON values; of an encoder its name and what tells whether it is the same.

        Raises:
            OptionError: an encoder that is an object of this process alone.
        """
        record: dict[str, Any] = {}
        for name, (kind, columns) in self.wanted.items():
            entry: dict[str, Any] = {"kind": kind, "columns": list(columns)}
            if name in self.encoders:
                entry["encoder"] = self.encoders.record(name)
            modality = self.fitted[name]
            tuned = isinstance(modality, Tuned)
            entry["fitted"] = {"shape": list(modality.shape)} if tuned else asdict(modality)  # type: ignore[call-overload]
            record[name] = entry
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Preprocessor:
        """The inverse of `to_dict`; `given` are the encoders that are code, by modality."""
        fitted: dict[str, Fitted] = {}
        wanted = {name: (entry["kind"], tuple(entry["columns"])) for name, entry in record.items()}
        encoders = Encoders.from_record(record, given or {})
        for name, entry in record.items():
            if name in encoders.tuned:
                fitted[name] = Tuned(encoders.tuned[name], tuple(entry["fitted"]["shape"]))
            else:
                kind = VECTORS if name in encoders.frozen else entry["kind"]
                fitted[name] = fitted_from(kind, entry["fitted"])
        return cls(fitted, wanted, encoders)


def _nearest(column: str, others: list[str]) -> str:
    """The name among others that a column may have been renamed to, in brackets."""
    folded = {name.casefold().strip(): name for name in others}
    near = folded.get(column.casefold().strip()) or next(
        iter(difflib.get_close_matches(column, others, n=1)), None
    )
    return f" (is it {near!r}?)" if near else ""


def fit_options(
    dataset: Dataset, options: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    """Options of each kind's `fit`, with what the schema says of the whole columns."""
    written = tuple((name, *astuple(c)) for name, c in dataset.schema.conventions.items())
    scalars = {"limits": tuple(sorted(dataset.schema.limits)), "conventions": written}
    return {kind: dict(said) for kind, said in (options or {}).items()} | {
        kind: scalars for kind in modalities if capabilities_of(kind).scalars
    }


def fitted_from(kind: str, record: dict[str, Any]) -> Modality:
    """A fitted modality from its fields as JSON values."""
    return typed(modalities[kind], record)
