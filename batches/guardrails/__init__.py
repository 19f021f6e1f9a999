"""From looks to rulings: measure, judge, and say why."""
