"""The package's version, and the model's: bumped whenever any count or cycle can change."""

__version__ = "0.2.0"
MODEL_VERSION = 7
