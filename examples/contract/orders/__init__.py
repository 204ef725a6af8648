"""The provider: it keeps orders."""
