"""An epoch on Alpha158 windows: raybench against Qlib's ``fit`` of the same network and against bare torch.

    python benchmarks/train_alpha158.py [--network gru|lstm|alstm|gats] [--short]

In-process, one worker with all ``--cores`` as threads; fastest of ``--repeats`` epochs on every side.
"""

from benchmarks._epochs import compare_epochs

if __name__ == "__main__":
    compare_epochs(__doc__, "alpha158", wanted={"gru": 0.30, "lstm": 0.35, "alstm": 0.35, "gats": 0.2})
