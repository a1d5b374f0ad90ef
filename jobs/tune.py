r"""`raybench tune` as a Ray job.

ray job submit --working-dir . -- python jobs/tune.py configs/gru_alpha158.yaml data.bars=s3://bucket/bars \
        --out s3://bucket/search
"""

from _command import run

if __name__ == "__main__":
    run("tune")
