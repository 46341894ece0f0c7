"""Pages of what the package makes: one function a class, each giving a ``base.text_table.Page``."""
