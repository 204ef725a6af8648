"""Who starts, shares and stops servers."""
