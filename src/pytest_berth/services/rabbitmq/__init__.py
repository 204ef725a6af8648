"""RabbitMQ: a virtual host for each worker, put back after every test."""
