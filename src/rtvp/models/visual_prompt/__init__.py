"""Refined visual prompt: uncertainty score, sparse sampling, and the prompt made of the kept cells (Eq. 4-6)."""
