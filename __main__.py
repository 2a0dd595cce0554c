"""`python -m crossalign` is the `crossalign` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
