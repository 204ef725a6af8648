"""MySQL and MariaDB: what they are, how they are launched, and how they get clean for each test."""
