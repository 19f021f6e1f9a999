"""How long the way back takes: quoted before, measured after, compared ever since."""
