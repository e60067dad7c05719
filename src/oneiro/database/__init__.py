"""PostgreSQL: the embedded server, the pool, transactions by role, migrations."""
