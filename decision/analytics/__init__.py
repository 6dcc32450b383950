"""Reports over the archive: who customers are by what they did, and what it earned."""
