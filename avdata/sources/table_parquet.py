"""Parquet tables as rows of text cells, so that they mean what the same CSV means.

Null and NaN become an empty cell; a list becomes its items joined by "|". pyarrow is imported when
a parquet table is read: the names of the formats are asked for by `avdata build --help`.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.rows import malformed
from avdata.sources.source import ListedRow

PARQUET_MAGIC = b"PAR1"
BATCH_ROWS = 4096

CellsParser = Callable[[int, list[str]], ListedClip]
"""(1-based row, cells) to clip; ValueError for a malformed row."""


def parquet_column_names(path: Path) -> list[str]:
    """Names of the top-level columns.

    Raises:
        ListingError: The file is not whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return [str(name) for name in file.schema_arrow.names]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def read_parquet_cells(path: Path, names: list[str], parse: CellsParser) -> Iterator[ListedRow]:
    """One row of the listing for each row of the file, a few thousand in memory at a time.

    Args:
        names: Columns to read, in the order of the file; the rest stays on disk.

    Raises:
        ListingError: A part of the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    row_number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=names):
                columns = [column.to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True):
                    row_number += 1
                    yield _row(parse, row_number, values)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _row(parse: CellsParser, row_number: int, values: tuple[object, ...]) -> ListedRow:
    try:
        return parse(row_number, [_cell(value) for value in values])
    except ValueError as error:
        return malformed(row_number, ",".join(str(value)[:200] for value in values), str(error))


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return "|".join(map(str, value))
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return str(value)


def _damaged(path: Path, error: BaseException) -> ListingError:
    return ListingError(
        f"parquet table {path} cannot be read: {str(error)[:200]}; write it again, or as CSV"
    )
