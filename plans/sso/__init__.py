"""Single sign-on by OpenID Connect, stricter than the library."""
