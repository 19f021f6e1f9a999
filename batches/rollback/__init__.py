"""Taking back: asked for, ended, and watched until the Kpis are back in band."""
