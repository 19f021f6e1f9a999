"""Does a Kpi's mapping fit its source? Probed before a plan rests on it."""
