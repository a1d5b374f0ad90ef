"""A GRU epoch on Alpha360: raybench against Qlib's ``GRU.fit`` and against bare torch.

    python benchmarks/train_alpha360.py [--short]

In-process, one worker with all ``--cores`` as threads; fastest of ``--repeats`` epochs on every side.
"""

from benchmarks._epochs import compare_epochs

if __name__ == "__main__":
    compare_epochs(__doc__, "alpha360", wanted={"gru": 0.45})
