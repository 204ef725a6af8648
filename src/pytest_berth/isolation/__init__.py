"""How a namespace is clean for each test: what all services share."""
