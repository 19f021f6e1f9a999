"""Plans before they are agreed to: drafts, their revisions, and who stands in which batch."""
