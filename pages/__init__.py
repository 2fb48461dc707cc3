"""The workbench's pages: each reads widgets, calls core, draws."""
