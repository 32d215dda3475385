"""What an evaluation leaves to read: averages, tables, charts and a contact sheet."""
