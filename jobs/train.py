r"""`raybench train` as a Ray job.

ray job submit --working-dir . -- python jobs/train.py configs/gru_alpha158.yaml data.bars=s3://bucket/bars \
        --out s3://bucket/run
"""

from _command import run

if __name__ == "__main__":
    run("train")
