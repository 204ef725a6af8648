"""WireMock."""
