INSERT INTO products (sku, price) VALUES ('teapot', 24.00), ('tea', 5.25);
