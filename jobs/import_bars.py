"""`raybench import` as a Ray job.

ray job submit --working-dir . -- python jobs/import_bars.py s3://bucket/source --to s3://bucket/bars
"""

from _command import run

if __name__ == "__main__":
    run("import")
