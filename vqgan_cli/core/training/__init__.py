"""What the trainers share: schedules, averages, checkpoints, stops."""
