"""How often would a policy roll back with nothing released? Measured over recorded history."""
