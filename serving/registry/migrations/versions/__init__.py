"""One module a migration; a published one is never changed."""
