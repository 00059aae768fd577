"""Result columns without regard to a task: how to build, verify, compare and display them. None of it needs torch."""
