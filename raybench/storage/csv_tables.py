"""CSV files as tables: every cell arrives as text, and what cannot be read names its row."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.csv as pacsv

from raybench.columns.typed import mostly_numbers
from raybench.errors import DataError
from raybench.storage import files
from raybench.storage.csv_head import Head, read_head

FORMAT = "csv"
PACKED = ("", ".gz", ".zst", ".bz2")
SUFFIXES = tuple(f".csv{packed}" for packed in PACKED)
TEXTS = tuple(f".{name}{packed}" for name in ("txt", "tsv", "tab") for packed in PACKED)
"""What else may be a table of this kind, and a README too: read where the format is named."""
BLOCK_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTables:
    """CSV files in one ``encoding``, a name that Python knows; None is UTF-8, or UTF-16 with its mark.

    ``texts``: files of other customary endings (``TEXTS``) are such tables too.
    """

    FORMAT: ClassVar[str] = FORMAT
    encoding: str | None = None
    texts: bool = False

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise DataError(f"--encoding {self.encoding}: is no encoding; want such as gb18030 or latin-1") from None

    @property
    def SUFFIXES(self) -> tuple[str, ...]:
        """What the names of its files end in."""
        return (*SUFFIXES, *TEXTS) if self.texts else SUFFIXES

    def header(self, file: str) -> list[str]:
        """See :func:`header`."""
        return header(file, self.encoding)

    def numeric(self, file: str, column: str) -> bool | None:
        """See :func:`numeric`."""
        return numeric(file, column, self.encoding)

    def pieces(self, file: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """See :func:`pieces`."""
        return pieces(file, columns, self.encoding)


def header(file: str, encoding: str | None = None) -> list[str]:
    """The names of the columns."""
    head = _head(file, encoding)
    return [*head.names, *head.constants]


def _head(file: str, encoding: str | None) -> Head:
    try:
        return read_head(file, encoding_of(file, encoding))
    except UnicodeError:
        raise undecodable(file, encoding) from None


def encoding_of(file: str, wanted: str | None) -> str:
    """The one that is wanted, else what the first bytes say: UTF-16 or UTF-8."""
    if wanted is not None:
        return wanted
    with files.open_stream(file) as stream:
        start = bytes(stream.read(2))
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"


def undecodable(file: str, encoding: str | None) -> DataError:
    """The error for a file that is not in this encoding; None: in none that it could tell."""
    if encoding is not None:
        return DataError(f"{file}: is not {encoding} text; want another --encoding")
    return DataError(
        f"{file}: is not UTF-8 text; say what it is with --encoding, such as gb18030 for Chinese from Excel, or latin-1"
    )


def numeric(file: str, column: str, encoding: str | None = None) -> bool | None:
    """Whether a column holds numbers, by the first rows that say something; None if none does."""
    answers = (mostly_numbers(batch.column(column)) for _, batch in pieces(file, [column], encoding))
    return next((answer for answer in answers if answer is not None), None)


def pieces(file: str, columns: Sequence[str], encoding: str | None = None) -> Iterator[tuple[int, Any]]:
    """Some rows at a time: the number of rows before them, and a record batch of text columns."""
    head = _head(file, encoding)
    read = pacsv.ReadOptions(
        encoding=encoding_of(file, encoding),
        use_threads=False,  # only then does a parse error know its row
        block_size=BLOCK_BYTES,
        skip_rows=head.lines,
        column_names=head.names,
    )
    convert = pacsv.ConvertOptions(
        include_columns=[name for name in columns if name not in head.constants] or head.names[:1],
        column_types=dict.fromkeys(head.names, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    parse = pacsv.ParseOptions(delimiter=head.delimiter)
    first_row = 0
    with files.open_stream(file) as stream:
        try:
            for batch in pacsv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert):
                for name, value in head.constants.items():
                    batch = batch.append_column(name, pa.array([value] * batch.num_rows, pa.string()))
                yield first_row, batch.select(list(columns))
                first_row += batch.num_rows
        except UnicodeError:
            raise undecodable(file, encoding) from None
        except pa.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                raise undecodable(file, encoding) from None
            if "Empty CSV file" not in str(error):  # a header and no rows
                raise DataError(f"{file}: {' '.join(str(error).split())}") from None
