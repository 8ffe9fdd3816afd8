"""One host's life: the only wing that knows the others, and introduces them."""
