"""Sweeps: many experiments from one command, each in a clone of HEAD, on the workers of a Dask cluster."""
