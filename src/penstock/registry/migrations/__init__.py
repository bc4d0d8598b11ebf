"""The registry's schema, step by step; each file in `versions` is one step and is never edited after its release."""
