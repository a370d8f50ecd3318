"""What `render_faces` needs."""
