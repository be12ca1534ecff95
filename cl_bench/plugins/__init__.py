"""From names to code: what is registered, how strategies compose, and what a plug-in says of itself."""
