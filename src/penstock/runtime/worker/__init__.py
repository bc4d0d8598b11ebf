"""Models in processes of their own: `pool` keeps them alive, `client` calls them, `__main__` is what runs in them."""
