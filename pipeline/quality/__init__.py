"""Verdicts without a reference: figures of a scan and its masks, what is usual, and how well verdicts hold."""
