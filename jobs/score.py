"""`raybench score` as a Ray job.

ray job submit --working-dir . -- python jobs/score.py --model s3://bucket/run --bars s3://bucket/bars --to s3://bucket/scores
"""

from _command import run

if __name__ == "__main__":
    run("score")
