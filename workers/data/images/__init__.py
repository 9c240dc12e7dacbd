"""Read, decode and stream encoded images."""
