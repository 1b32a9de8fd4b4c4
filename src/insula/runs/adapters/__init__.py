"""Where runs meet SQL and the durable-execution library."""
