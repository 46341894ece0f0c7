"""The mapper: the best mapping of a layer, proved."""
