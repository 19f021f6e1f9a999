"""When tenants may be called: windows and freezes."""
