"""`raybench daily` as a Ray job.

ray job submit --working-dir . -- python jobs/daily.py s3://bucket/daily.yaml
"""

from _command import run

if __name__ == "__main__":
    run("daily")
