"""Who agrees to what: requests, signed grants, and acts that use them up."""
