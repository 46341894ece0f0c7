"""What every room stands on: errors of one line, YAML with places, validation, expressions."""
