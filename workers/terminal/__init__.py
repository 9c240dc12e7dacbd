"""Print safely, and declare the options that several commands share."""
