"""What a person at a screen does with a model, one step at a time: functions of arrays, of no page and no command."""
