"""`raybench features` as a Ray job.

ray job submit --working-dir . -- python jobs/features.py --bars s3://bucket/bars --set alpha158 --to s3://bucket/features
"""

from _command import run

if __name__ == "__main__":
    run("features")
