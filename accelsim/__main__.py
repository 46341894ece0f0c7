"""``python -m accelsim`` is the program ``accelsim``."""

from accelsim.cli.main import main

if __name__ == "__main__":
    main()
