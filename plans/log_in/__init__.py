"""Log-ins, sessions and second factors."""
