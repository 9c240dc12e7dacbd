"""Read encoded images from files and Parquet."""
