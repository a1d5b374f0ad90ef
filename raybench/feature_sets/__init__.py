"""Rolling operators, Alpha158, Alpha360 and labels: the arithmetic, the job's parts, and the table they leave."""

__all__ = ["alpha158", "alpha360", "build", "compiled", "labels", "pieces", "table", "table_columns"]
