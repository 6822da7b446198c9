"""Programs that time tapehead, and the recipes that take long."""
