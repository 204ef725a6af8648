"""The consumer: it shows the orders of a user."""
