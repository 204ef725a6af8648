"""S3: servers, buckets of a worker's own, and their clean slate."""
