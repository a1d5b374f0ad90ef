"""``python -m raybench`` is ``raybench``."""

from raybench.cli.app import main

if __name__ == "__main__":
    main()
