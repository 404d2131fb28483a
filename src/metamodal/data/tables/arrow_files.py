"""Arrow's own files in batches, none of which unpacks to more than its size on disk lets expect."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metamodal.data.limits import limits
from metamodal.errors import DataError

__all__ = ["arrow_batches"]

_SUSPICIOUS = 32  # times that a batch grows, where it is also large
_MAGIC = b"ARROW1"
_VIEW = 16  # bytes of a view, the first four of them its length
_WIDTH = 8  # bytes of an element of a list, at most
_DICTIONARY = 2  # the type of a message whose record batch is one level down


def arrow_batches(source: Any, name: str, column: str | None = None) -> tuple[pa.Schema, Iterator[Any]]:
    """The schema and the record batches of a file in Arrow's file format (Feather) or its stream format.

    The file format is the stream format between a mark and a footer, and is read so: what is checked is
    what is read.

    Args:
        source: a seekable Arrow file, best memory-mapped.
        column: the only one to unpack; the schema is then its own.

    Raises:
        DataError: a compressed batch that unpacks to more than the cap of bytes and many times its size.
    """
    start = 8 if source.read(len(_MAGIC)) == _MAGIC else 0
    source.seek(start)
    held = size = 0
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.body is not None:
            held += message.body.size
            size += _unpacked_size(message.metadata, message.body)
            _check_growth(size, held, name)
    options = None
    if column is not None:
        source.seek(start)
        place = pa.ipc.open_stream(source).schema.get_field_index(column)
        options = pa.ipc.IpcReadOptions(included_fields=[place])
    source.seek(start)
    reader = pa.ipc.open_stream(source, options=options)
    return reader.schema, _checked(reader, name)


def _checked(batches: Iterable[Any], name: str) -> Iterator[Any]:
    held = size = 0
    for batch in batches:
        held += batch.get_total_buffer_size()
        size += sum(_repeated_size(column) for column in batch.columns)
        _check_growth(size, held, name)
        yield batch


def _check_growth(size: int, held: int, name: str) -> None:
    cap = limits().bytes
    if size > cap and size > _SUSPICIOUS * held:
        raise DataError(
            f"{name}: {held} bytes of it unpack to {size}, above the cap of {cap}. Write it as Parquet, or raise the cap "
            "(data.limits.bytes)."
        )


def _repeated_size(column: Any) -> int:
    """Bytes of the values of which many rows may share one: each row's counted."""
    kind = column.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = column.buffers()[1]
        lengths = np.frombuffer(views, np.int32)[:: _VIEW // 4] if views else np.zeros(0, np.int32)
        return int(lengths[column.offset : column.offset + len(column)].sum(dtype=np.int64))
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return _WIDTH * int(np.asarray(column.sizes).sum(dtype=np.int64))
    if pa.types.is_dictionary(kind) and pa.types.is_nested(kind.value_type):
        used = pc.list_value_length(column.dictionary).take(column.indices)
        return _WIDTH * int(pc.sum(used).as_py() or 0)
    return 0


def _unpacked_size(metadata: Any, body: Any) -> int:
    """What the buffers of a compressed record batch say they unpack to; 0 of one that is not compressed.

    Layout: Arrow's `Message.fbs`. A compressed buffer starts with its length as int64, or -1 if it is plain.
    """
    try:
        table = _Table.root(memoryview(metadata))
        header = table.child(2)
        if header is not None and table.byte(1) == _DICTIONARY:
            header = header.child(1)
        if header is None or header.child(3) is None:
            return 0
        size = 0
        for offset, length in header.pairs(2):
            if length >= 8:
                size += max(0, struct.unpack_from("<q", body, offset)[0])
        return size
    except struct.error:
        raise pa.ArrowInvalid("a message's metadata is damaged") from None


class _Table:
    """A table of a flatbuffer: fields by number, those that are not written absent."""

    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at

    @classmethod
    def root(cls, data: memoryview) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _place(self, field: int) -> int | None:
        fields = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        if 6 + 2 * field > struct.unpack_from("<H", self.data, fields)[0]:
            return None
        offset = struct.unpack_from("<H", self.data, fields + 4 + 2 * field)[0]
        return self.at + offset if offset else None

    def byte(self, field: int) -> int:
        place = self._place(field)
        return 0 if place is None else int(struct.unpack_from("<B", self.data, place)[0])

    def child(self, field: int) -> _Table | None:
        place = self._place(field)
        return None if place is None else _Table(self.data, self._followed(place))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two int64."""
        place = self._place(field)
        if place is not None:
            start = self._followed(place)
            for i in range(struct.unpack_from("<I", self.data, start)[0]):
                yield struct.unpack_from("<qq", self.data, start + 4 + 16 * i)

    def _followed(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.data, place)[0])
