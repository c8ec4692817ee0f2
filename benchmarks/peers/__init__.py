"""Other ways to serve the same model, as a user would write them, to compare with."""
