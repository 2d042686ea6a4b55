"""Applications on one event loop each: web services, a client of one, a client of a database."""
