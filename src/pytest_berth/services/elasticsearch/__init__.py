"""Elasticsearch, and what OpenSearch shares with it: indices as they were before each test."""
