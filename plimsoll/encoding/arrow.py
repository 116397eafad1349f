"""Arrow tables, batches, arrays and schemas: fields with their metadata, nulls and content; how they are chunked does not count."""

from __future__ import annotations

import sys
from typing import Any

from plimsoll.encoding.arrays import put_array
from plimsoll.encoding.writer import Opaque, Writer


def put_arrow(to: Writer, value: Any) -> bool:
    """Write a value of pyarrow; return False, having written nothing, for what is none of its data or types.

    Args:
        to: takes it.
        value: of a class of pyarrow.
    """
    arrow = sys.modules["pyarrow"]
    if isinstance(value, (arrow.Table, arrow.RecordBatch)):
        to.items(b"Q", (type(value).__name__, _schema(value.schema), value.num_rows))
        for name, column in zip(value.schema.names, value.columns, strict=True):
            try:
                _put_cells(to, _whole(column))
            except Opaque as problem:
                problem.path.append(f"[{name!r}]")
                raise
    elif isinstance(value, (arrow.Array, arrow.ChunkedArray)):
        to.items(b"Q", ("array", _type(value.type), len(value)))
        _put_cells(to, _whole(value))
    elif isinstance(value, arrow.Scalar):
        to.items(b"Q", ("scalar", _type(value.type)))
        _put_cells(to, arrow.array([value.as_py()], type=value.type))
    elif isinstance(value, arrow.Schema):
        to.items(b"Q", ("schema", _schema(value)))
    elif isinstance(value, arrow.Field):
        to.items(b"Q", ("field", _field(value)))
    elif isinstance(value, arrow.DataType):
        to.items(b"Q", ("type", _type(value)))
    elif isinstance(value, arrow.Buffer):
        to.items(b"Q", ("buffer", value.to_pybytes()))
    else:
        return False
    return True


def _schema(schema: Any) -> Any:
    return [_field(field) for field in schema], _metadata(schema.metadata)


def _field(field: Any) -> Any:
    return field.name, _type(field.type), field.nullable, _metadata(field.metadata)


def _type(kind: Any) -> Any:
    inner = [_field(kind.field(index)) for index in range(kind.num_fields)]
    return str(kind), inner


def _metadata(metadata: Any) -> Any:
    return None if metadata is None else sorted(metadata.items())


def _whole(column: Any) -> Any:
    """Return a column as one array."""
    arrow = sys.modules["pyarrow"]
    if not isinstance(column, arrow.ChunkedArray):
        return column
    if arrow.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return arrow.concat_arrays(column.chunks) if column.num_chunks else arrow.array([], type=column.type)


def _put_cells(to: Writer, array: Any) -> None:
    """Write the nulls, then the content of the others, so that what lies under a null does not count."""
    arrow = sys.modules["pyarrow"]
    kinds = arrow.types
    if isinstance(array, arrow.ExtensionArray):
        array = array.storage
    to.put(array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None)
    array = array.drop_null()
    kind = array.type
    if kinds.is_null(kind) or not len(array):
        return
    if kinds.is_struct(kind):
        for field in array.flatten():
            _put_cells(to, field)
    elif kinds.is_dictionary(kind):
        _put_cells(to, array.dictionary)
        _put_cells(to, array.indices)
    elif kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        put_array(to, array.value_lengths().to_numpy(zero_copy_only=False))
        _put_cells(to, array.flatten())
    elif kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_binary(kind) or kinds.is_large_binary(kind):
        _put_bytes(to, array.cast(arrow.large_binary()))
    elif kinds.is_boolean(kind) or kinds.is_integer(kind) or kinds.is_floating(kind):
        put_array(to, array.to_numpy(zero_copy_only=False))
    elif kinds.is_temporal(kind) and not kinds.is_interval(kind):
        put_array(to, array.view(f"int{kind.bit_width}").to_numpy(zero_copy_only=False))
    else:
        to.items(b"l", array.to_pylist())


def _put_bytes(to: Writer, array: Any) -> None:
    numpy = sys.modules["numpy"]
    _, places, data = array.buffers()
    places = numpy.frombuffer(places, numpy.int64)[array.offset : array.offset + len(array) + 1]
    put_array(to, numpy.diff(places))
    to.leaf(b"y", memoryview(data)[places[0] : places[-1]] if data is not None else b"")
