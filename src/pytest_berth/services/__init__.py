"""What a server of each kind is: one folder per service."""
