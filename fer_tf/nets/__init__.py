"""Published networks that papers build on; one file a network."""
