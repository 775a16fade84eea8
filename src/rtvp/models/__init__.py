"""The detector and its parts; torch modules with plain constructors."""
