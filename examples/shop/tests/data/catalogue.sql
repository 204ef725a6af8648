INSERT INTO products (name, price, stock) VALUES
    ('Kettle', 39.50, 4),
    ('Teapot', 24.00, 12),
    ('Tea; 100 bags', 5.25, 200);
