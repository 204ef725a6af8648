"""A trigger that takes what is ordered out of stock, and a view of the sales.

Revision: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION take_from_stock() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE products SET stock = stock - NEW.quantity WHERE id = NEW.product_id;
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER take_from_stock AFTER INSERT ON order_items
        FOR EACH ROW EXECUTE FUNCTION take_from_stock()
        """
    )
    op.execute(
        """
        CREATE MATERIALIZED VIEW sales_per_product AS
        SELECT products.id AS product_id,
               products.name,
               sum(order_items.quantity) AS pieces,
               sum(order_items.quantity * order_items.unit_price) AS revenue
        FROM products
        JOIN order_items ON order_items.product_id = products.id
        GROUP BY products.id
        """
    )


def downgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW sales_per_product")
    op.execute("DROP TRIGGER take_from_stock ON order_items")
    op.execute("DROP FUNCTION take_from_stock()")
