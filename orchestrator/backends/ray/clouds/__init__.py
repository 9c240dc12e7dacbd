"""Ray's node providers of clouds, which try another type of machine when the cloud has none left of the first."""
