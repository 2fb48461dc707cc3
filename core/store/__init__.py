"""The only SQL: schema, migrations, one module per entity."""
