"""What a training run leaves: its folder, its tables and curves, and the state that it goes on from."""
