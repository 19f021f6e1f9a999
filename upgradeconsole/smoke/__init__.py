"""A rehearsal: a whole upgrade of its own, with a database and processes of its own."""
