"""What a training does when something goes wrong: numbers that are none, full memory, a full disk, a signal to end."""
