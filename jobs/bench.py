r"""`raybench bench` as a Ray job.

ray job submit --working-dir . -- python jobs/bench.py configs/gru_alpha158.yaml data.bars=s3://bucket/bars --seeds 5 \
        --out s3://bucket/bench
"""

from _command import run

if __name__ == "__main__":
    run("bench")
