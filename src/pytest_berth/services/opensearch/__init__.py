"""OpenSearch: served as Elasticsearch is, under its own names."""
