"""A GRU epoch on Alpha158 windows: raybench against Qlib's ``GRU_ts.fit`` and against bare torch.

    python benchmarks/train_alpha158.py [--short]

In-process, one worker with all ``--cores`` as threads; fastest of ``--repeats`` epochs on every side.
"""

from benchmarks._epochs import compare_epochs

if __name__ == "__main__":
    compare_epochs(__doc__, "gru_alpha158", wanted_qlib=0.45, wanted_bare=1.1)
