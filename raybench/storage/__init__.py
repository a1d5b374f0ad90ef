"""Where data lies, local folder or ``s3://``: the one module that publishes, the one that opens Parquet."""

__all__ = [
    "arrays",
    "claims",
    "csv_tables",
    "encoding",
    "files",
    "parquet",
    "parquet_tables",
    "places",
    "rooms",
    "seal",
    "versions",
    "whole",
]
