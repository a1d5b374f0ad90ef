"""Runs where pyqlib is installed: IC, Rank IC and long-short per date of a table of scores and labels.

python daily_ic.py SCORES.parquet OUT.parquet
"""

import sys

import pandas as pd
from qlib.contrib.eva.alpha import calc_ic, calc_long_short_return


def main() -> None:
    table = pd.read_parquet(sys.argv[1]).set_index(["datetime", "instrument"])
    ic, rank_ic = calc_ic(table["score"], table["label"])
    long_short, long_avg = calc_long_short_return(table["score"], table["label"])
    daily = {"ic": ic, "rank_ic": rank_ic, "long_short": long_short, "long_avg": long_avg}
    pd.DataFrame(daily).reset_index(names="datetime").to_parquet(sys.argv[2], index=False)


if __name__ == "__main__":
    main()
