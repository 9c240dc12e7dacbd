"""Tickets from elsewhere: found in files, folders and stores, checked, and copied into a sweep's store."""
