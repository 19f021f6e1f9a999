"""People and machines: roles, rights, tokens, and how they end."""
