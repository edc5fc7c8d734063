"""The library behind the notebooks: one concept a file; see the annotated tree in the README."""
