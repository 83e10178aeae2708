"""Tables, figures and a page from stored results. Knows the store, the spec and the registries; never torch."""
