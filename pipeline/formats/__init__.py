"""File formats: one module a format, with one reader and/or one writer."""
