"""`python -m pixelsleuth`: the same as the `pixelsleuth` command."""

from pixelsleuth.cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m pixelsleuth")
