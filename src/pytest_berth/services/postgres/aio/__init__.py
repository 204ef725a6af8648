"""The fixtures for asyncio: what is made and closed in sync fixtures, and used in any loop."""
