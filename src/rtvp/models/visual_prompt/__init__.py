"""Refined visual prompt: uncertainty score, sparse sampling, the prompt of the kept cells (Eq. 4-6)."""
