"""A store as a Workflow Run RO-Crate: a folder that others can archive, cite and read without this software."""
