"""`python -m deblur_cli` is the command `deblur`."""

from deblur_cli.cli import main

if __name__ == "__main__":
    main()
