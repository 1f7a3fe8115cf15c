"""Listing -> plan -> executor -> manifest."""
