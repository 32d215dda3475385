"""Small Qt widgets of several panels."""
